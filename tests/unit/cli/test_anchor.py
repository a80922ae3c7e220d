"""`govchain anchor`: verdicts and exit codes on the vectors, the folder, and what is told."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from node.cli.anchor_checkup import check_anchors
from node.cli.checkup import Level
from node.cli.exit_codes import ExitCode
from node.crypto.certificate import encode_pem
from node.operations.anchor_home import AnchorHome
from node.operations.anchoring import STALE_MS
from node.timestamp.outside.anchor import Anchor
from node.timestamp.tokens.issuing import Coordinates, Stamp
from node.timestamp.tokens.reading import token_of_answer
from node.timestamp.tokens.request import Imprint
from tests.unit.cli.command import CHINESE, Ran, run
from tests.unit.timestamp.outside.openssl_authority import OpenSslAuthority
from tests.vectors.anchor.generate import (
    DOCUMENT,
    FOLDER,
    ISSUERS,
    OUTSIDE,
    anchor_of,
    build_chain,
    checkpoint_of,
)
from tests.vectors.receipt.tokens import authority_of, issuer_of

ROOT = FOLDER / "authority" / f"{OUTSIDE}.pem"


def verify(folder: Path, name: str, *options: object, env: dict[str, str] | None = None) -> Ran:
    """Run `anchor verify` on a case."""
    case: dict[str, Any] = json.loads((FOLDER / "anchor" / f"{name}.json").read_text())
    path, receipt = folder / "it.anchor", folder / "it.receipt"
    path.write_bytes(base64.b64decode(case["anchor"]))
    if case["receipt"] is not None:
        receipt.write_bytes(base64.b64decode(case["receipt"]))
        options = ("--receipt", receipt, *options)
    trust, authority = (FOLDER / kind / case[kind] for kind in ("trust", "authority"))
    return run(
        "anchor", "verify", path, "--trust", trust, "--authority", authority, *options, env=env
    )


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        ("good-record", ExitCode.DONE, None),
        ("good-alone", ExitCode.DONE, None),
        ("4-other-authority", ExitCode.NOT_ROOTED, "GC-2310"),
        ("4-expired", ExitCode.NOT_VERIFIED, "GC-2309"),
        ("8-early", ExitCode.NOT_VERIFIED, "GC-2309"),
        ("10-fork", ExitCode.NOT_VERIFIED, "GC-2309"),
    ],
)
def test_a_verdict_has_its_exit_code(
    tmp_path: Path, name: str, code: ExitCode, error: str | None
) -> None:
    ran = verify(tmp_path, name, "--json")
    assert ran.code == code
    assert ran.json.get("error", {}).get("code") == error
    assert (ran.json["attestation"] is None) is (error is not None)
    assert ran.json["steps"][-1]["passed"] is (error is None)


def test_of_another_authority_the_file_given_is_named(tmp_path: Path) -> None:
    told = verify(tmp_path, "4-other-authority", "--json")
    other = FOLDER / "authority" / "other.pem"
    assert "leads to no authority that is believed" in told.json["error"]["message"]
    assert "trust file" not in told.json["error"]["message"] + told.json["error"]["fix"]
    assert f"{other} is not of whoever stamped it" in told.json["error"]["fix"]
    assert "--authority" in told.json["error"]["fix"]
    assert str(other) in verify(tmp_path, "4-other-authority", env=CHINESE).err


def test_what_an_anchor_shows_is_said_in_words(tmp_path: Path) -> None:
    told = verify(tmp_path, "good-record").out
    assert "VERIFIED" in told
    assert "the record of block 1, of 2025-10-09T08:53:21" in told
    assert "existed no later than 2025-10-09T08:53:25" in told
    assert "CN=outside-tsa" in told
    alone = verify(tmp_path, "good-alone").out
    assert "block 3 and all before it existed no later than" in alone
    assert "不晚于" in verify(tmp_path, "good-record", env=CHINESE).out


def test_the_document_may_be_named_and_has_to_be_that_of_the_receipt(tmp_path: Path) -> None:
    document, other = tmp_path / "document", tmp_path / "other"
    document.write_bytes(DOCUMENT)
    other.write_bytes(b"another")
    assert verify(tmp_path, "good-record", "--document", document).code == 0
    ran = verify(tmp_path, "good-record", "--document", other, "--json")
    assert (ran.code, ran.json["steps"][-1]["name"]) == (ExitCode.NOT_VERIFIED, "receipt")
    assert verify(tmp_path, "good-alone", "--document", document).code == ExitCode.USAGE


def test_the_receipt_of_another_record_is_told_as_that(tmp_path: Path) -> None:
    case = json.loads((FOLDER / "anchor" / "good-record.json").read_text())
    other = build_chain().receipt(2)
    assert other.encode() != base64.b64decode(case["receipt"])
    path, receipt = tmp_path / "it.anchor", tmp_path / "other.receipt"
    path.write_bytes(base64.b64decode(case["anchor"]))
    receipt.write_bytes(other.encode())
    trust, authority = (FOLDER / kind / case[kind] for kind in ("trust", "authority"))
    words = ("anchor", "verify", path, "--trust", trust, "--authority", authority, "--json")
    ran = run(*words, "--receipt", receipt)
    assert (ran.code, ran.json["steps"][-1]["name"]) == (ExitCode.NOT_VERIFIED, "join")
    assert "the receipt that the anchor was exported for" in ran.json["error"]["fix"]


def test_a_policy_may_be_asked_for(tmp_path: Path) -> None:
    policy = "1.3.6.1.4.1.99999.1"
    assert verify(tmp_path, "good-record", "--policy", policy).code == 0
    assert verify(tmp_path, "good-record", "--policy", "1.2.3").code == ExitCode.NOT_VERIFIED


def test_authorities_are_added_and_listed_as_stale_until_they_stamp(tmp_path: Path) -> None:
    home = tmp_path / "anchors"
    url = "https://tsa.example/tsr"
    assert run("anchor", "list", home).code == ExitCode.USAGE
    added = run("anchor", "add", home, OUTSIDE, url, "--ca", ROOT, "--policy", "1.2.3", "--json")
    assert (added.code, added.json["certificates"]) == (0, 1)
    again = run("anchor", "add", home, OUTSIDE, url, "--ca", ROOT)
    assert (again.code, "is there already" in again.err) == (ExitCode.USAGE, True)
    ran = run("anchor", "list", home, "--json")
    assert (ran.code, ran.json["stale"], ran.json["anchors"]) == (6, [OUTSIDE], [])
    assert ran.json["error"]["code"] == "GC-2372"
    assert ran.json["error"]["message"] == f"nothing stamped yet by {OUTSIDE}"
    (home / "anchors" / "2025-10-09.3.outside.anchor").write_bytes(b"damaged")
    ran = run("anchor", "list", home, "--json")
    assert ran.json["anchors"][0]["stamped"] is None
    assert (ran.json["anchors"][0]["height"], ran.json["stale"]) == (3, [OUTSIDE])


def findings(tmp_path: Path, folder: Path) -> list[tuple[str, str]]:
    """Return what `doctor` finds of anchors, where there is no network."""
    ran = run("doctor", "--home", tmp_path / "none", "--anchors", folder, "--json")
    found = [each for each in ran.json["findings"] if each["check"] == "anchors"]
    return [(each["level"], each["detail"]) for each in found]


def test_doctor_tells_of_authorities_that_stamp_no_more(tmp_path: Path) -> None:
    assert "knows no authority" in findings(tmp_path, tmp_path)[0][1]
    home = AnchorHome(tmp_path / "anchors")
    home.add(OUTSIDE, "https://tsa.example/tsr", [ISSUERS[OUTSIDE].root])
    assert findings(tmp_path, home.folder) == [("warning", "outside: stamped nothing yet")]
    old = anchor_of(checkpoint_of(build_chain(), 3))
    kept = home.keep(OUTSIDE, "2025-10-09", old)
    home.keep_receipt(kept, b"a receipt")
    said = "outside: stamped last at 2025-10-09T08:53:24.200Z; one is due every day"
    assert findings(tmp_path, home.folder) == [("problem", said)]


@pytest.mark.parametrize(
    ("hours", "level"), [(25, Level.OK), (27, Level.WARNING), (49, Level.PROBLEM)]
)
def test_an_anchor_that_is_overdue_is_told_with_what_to_do(
    tmp_path: Path, hours: int, level: Level
) -> None:
    home = AnchorHome(tmp_path / "anchors")
    home.add(OUTSIDE, "https://tsa.example/tsr", [ISSUERS[OUTSIDE].root])
    old = anchor_of(checkpoint_of(build_chain(), 3))
    kept = home.keep(OUTSIDE, "2025-10-09", old)
    home.keep_receipt(kept, b"a receipt")
    (found,) = check_anchors(home.folder, kept.stamped_ms() + hours * 3_600_000, None)
    assert found.level is level
    told = f"see what it says: govchain anchor run {home.folder} --once --newest"
    assert found.fix == ("" if level is Level.OK else told)


def test_an_authority_of_the_chain_is_told_as_not_outside(tmp_path: Path) -> None:
    """Its own organisations stamp no better than they vote; the verdict stands all the same."""
    chain = build_chain()
    checkpoint = checkpoint_of(chain, 3)
    authority = authority_of(chain)
    imprint, coordinates = Imprint.of(*checkpoint.document), Coordinates(bytes(7), 1, 1)
    time_ms = checkpoint.block.header.time_ms + 1_000
    stamp = Stamp(imprint=imprint, coordinates=coordinates, time_ms=time_ms)
    path, root = tmp_path / "it.anchor", tmp_path / "ca.pem"
    root.write_bytes(encode_pem(authority.certificate))
    token = issuer_of(authority).issue(stamp)
    path.write_bytes(Anchor(checkpoint=checkpoint, token=token).encode())
    words = ("anchor", "verify", path, "--trust", FOLDER / "trust" / "genesis.json")
    ran = run(*words, "--authority", root, "--json")
    assert ran.code == 0, ran.out
    assert (ran.json["attestation"]["outside"], ran.json["attestation"]["insider"]) == (
        False,
        "org-1",
    )
    assert "NOT OUTSIDE: CN=validator-1,O=org-1 is of org-1" in run(*words, "--authority", root).out
    told = run(*words, "--authority", root, env=CHINESE).out
    assert "并非链外" in told
    good = verify(tmp_path, "good-alone", "--json").json["attestation"]
    assert (good["outside"], good["insider"]) == (True, None)
    (tmp_path / "other").mkdir()
    assert "NOT OUTSIDE" not in verify(tmp_path / "other", "good-alone").out


def test_who_adds_an_authority_of_the_chain_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, anchors = tmp_path / "network", tmp_path / "anchors"
    assert run("testnet", "init", "--home", network, "-n", 1, "--json").code == 0
    url, own = "https://tsa.example/tsr", network / "organisations" / "org-1" / "ca.pem"
    home = ("--home", network)
    inside = run("anchor", "add", anchors, "own", url, "--ca", own, *home)
    assert (inside.code, "NOT OUTSIDE: own is of org-1" in inside.out) == (0, True)
    found = run("doctor", *home, "--anchors", anchors, "--json").json["findings"]
    told = [each["detail"] for each in found if each["check"] == "anchors"]
    assert told[1:] == ["own: not outside, it is of org-1; its stamps add nothing"]
    outside = run("anchor", "add", anchors, "good", url, "--ca", ROOT, *home, "--json")
    assert (outside.json["outside"], outside.json["insider"]) == (True, None)
    words = ("anchor", "add", anchors, "third", url, "--ca", ROOT, "--json")
    assert run(*words, "--home", tmp_path / "none").code == ExitCode.USAGE
    assert not (anchors / "authorities" / "third").exists()
    monkeypatch.chdir(tmp_path)  # no network here
    assert run(*words).json["outside"] is None


def test_verify_tells_whose_business_an_anchor_is(tmp_path: Path) -> None:
    path = tmp_path / "it.anchor"
    path.write_bytes(anchor_of(checkpoint_of(build_chain(), 3)).encode())
    ran = run("verify", path, "--trust", FOLDER / "trust" / "genesis.json")
    assert (ran.code, "govchain anchor verify" in ran.err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("url", ["ftp://tsa.example", "tsa.example"])
def test_only_http_is_asked(tmp_path: Path, url: str) -> None:
    ran = run("anchor", "add", tmp_path / "anchors", "one", url, "--ca", ROOT)
    assert (ran.code, "expected a URL" in ran.err) == (ExitCode.USAGE, True)


def test_what_openssl_stamps_is_listed_by_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, authority = AnchorHome(tmp_path / "anchors"), OpenSslAuthority(tmp_path / "tsa")
    home.add(OUTSIDE, "https://tsa.example/tsr", [ISSUERS[OUTSIDE].root])
    token = token_of_answer(authority.answer())
    home.keep(
        OUTSIDE, "2025-10-09", Anchor(checkpoint=checkpoint_of(build_chain(), 3), token=token)
    )
    ran = run("anchor", "list", home.folder)
    assert ran.code == 0
    assert "not yet" in ran.out
    (stamped, waiting) = findings(tmp_path, home.folder)
    assert stamped[0] == "ok"
    assert waiting == ("warning", "1 anchors are not recorded on the chain yet")
    home.add("second", "https://other.example/tsr", [ISSUERS[OUTSIDE].root])
    with monkeypatch.context() as later:
        later.setattr("node.cli.anchor.utc_ms", lambda: time.time_ns() // 1_000_000 + 2 * STALE_MS)
        old = run("anchor", "list", home.folder, "--json")
    told = f"nothing stamped yet by second; nothing stamped for two days by {OUTSIDE}"
    assert (old.code, old.json["error"]["message"]) == (ExitCode.UNAVAILABLE, told)
