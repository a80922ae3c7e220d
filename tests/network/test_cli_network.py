"""The command against four real validators: notarize, look up, verify, as people do it."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from node.cli.exit_codes import ExitCode
from node.client import recording
from node.operations.topology import PORTS_PER_NODE
from node.rpc.client import LedgerClient, NetworkUnavailable, Submission
from tests.network.local_network import LocalNetwork
from tests.suites import digest_by_hand
from tests.unit.cli.command import run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cli") / "net"
    up = run("testnet", "up", "--home", folder, "--json")
    assert up.code == 0, up.err
    yield folder
    run("testnet", "down", "--home", folder)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "receipts"


def document(folder: Path, name: str = "document.txt") -> Path:
    """Make a document that no other test has."""
    path = folder / name
    path.write_bytes(secrets.token_bytes(16))
    return path


def notarize(home: Path, out: Path, *arguments: object, stdin: bytes = b"") -> dict[str, Any]:
    ran = run("notarize", *arguments, "--home", home, "--out", out, "--json", stdin=stdin)
    assert ran.code == 0, ran.out
    return ran.json


def verify_offline(home: Path, document: Path, receipt: Path) -> int:
    trust = home / "trust.json"
    assert run("trust", "export", "--home", home).code == 0
    return run("verify", document, "--receipt", receipt, "--trust", trust, "--offline").code


def test_up_again_changes_nothing_and_status_agrees(home: Path) -> None:
    first = run("testnet", "status", "--home", home, "--json")
    again = run("testnet", "up", "--home", home, "--json")
    assert (first.code, again.code) == (0, 0)
    processes = [node["pid"] for node in first.json["nodes"]]
    assert [node["pid"] for node in again.json["nodes"]] == processes
    assert all(node["health"] == "READY" for node in first.json["nodes"])
    assert first.json["serving"] >= first.json["quorum"] == 3
    assert "validators serve" in run("testnet", "status", "--home", home).out


def test_a_folder_of_mixed_files_gives_a_receipt_each_that_verifies(
    home: Path, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "mixed"
    (folder / "子目录").mkdir(parents=True)
    (folder / "empty").touch()
    document(folder / "子目录", "电子证照.pdf")
    document(folder, "same.txt")
    document(folder / "子目录", "same.txt")
    (folder / "link").symlink_to("same.txt")
    with (folder / "large").open("wb") as file:
        file.truncate(200_000_000)
        file.write(secrets.token_bytes(8))
    answer = notarize(home, out, folder)
    statuses = {item["path"]: item["status"] for item in answer["items"]}
    assert statuses.pop(f"{folder}/link") == "same_file"
    assert set(statuses.values()) == {"recorded"}
    assert answer["recorded"] == 5
    receipts = {item["receipt"] for item in answer["items"] if "receipt" in item}
    assert len(receipts) == 5
    for item in answer["items"]:
        if item["status"] == "recorded":
            assert verify_offline(home, Path(item["path"]), Path(item["receipt"])) == 0
    empty = next(item for item in answer["items"] if item["path"].endswith("empty"))
    assert empty["digest"] == digest_by_hand(b"")


def test_some_unreadable_items_end_with_7_and_the_rest_is_recorded(
    home: Path, tmp_path: Path, out: Path
) -> None:
    good = document(tmp_path)
    (tmp_path / "loop").symlink_to(".")
    ran = run("notarize", tmp_path, "missing", "--home", home, "--out", out, "--json")
    assert ran.code == ExitCode.SOME_FAILED
    table = {item["path"]: item["status"] for item in ran.json["items"]}
    assert table == {str(good): "recorded", f"{tmp_path}/loop": "failed", "missing": "failed"}
    assert ran.json["error"]["code"] == "GC-2302"
    assert verify_offline(home, good, out / "document.txt.receipt") == 0


def test_a_receipt_of_a_validator_is_a_cose_receipt_too(
    home: Path, tmp_path: Path, out: Path
) -> None:
    path = document(tmp_path)
    assert run("notarize", path, "--home", home, "--out", out).code == 0
    ran = run("receipt", "export", out / "document.txt.receipt", "--format", "cose", "--json")
    assert ran.code == 0
    assert verify_offline(home, path, Path(ran.json["path"])) == 0


def test_lines_for_people_say_no_later_than(home: Path, tmp_path: Path, out: Path) -> None:
    path = document(tmp_path)
    ran = run("notarize", path, "--home", home, "--out", out)
    assert ran.code == 0
    assert ran.out.startswith(f"RECORDED  {path} existed no later than 20")
    assert ran.out.rstrip().endswith(f"{out}/document.txt.receipt")


def test_standard_input_is_a_document(home: Path, out: Path) -> None:
    content = secrets.token_bytes(16)
    (item,) = notarize(home, out, "-", stdin=content)["items"]
    assert item["digest"] == digest_by_hand(content)
    assert item["receipt"] == f"{out}/stdin.receipt"


def test_many_documents_go_in_batches(home: Path, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(25):
        document(folder, f"{number:02}")
    answer = notarize(home, out, folder, "--batch", 10, "--type", "seal")
    transactions = [item["transaction"] for item in answer["items"]]
    assert [transactions.count(each) for each in dict.fromkeys(transactions)] == [10, 10, 5]
    assert [item["operation"] for item in answer["items"][:12]] == [*range(10), 0, 1]
    assert {item["type"] for item in answer["items"]} == {"seal"}
    shown = run("tx", "show", transactions[0], "--home", home, "--json").json["transaction"]
    assert (shown["records"], shown["result"], shown["sender"]) == (10, "OK", "agency-1")


def test_more_transactions_than_one_request_holds(home: Path, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(501):
        document(folder, f"{number:03}")
    answer = notarize(home, out, folder, "--batch", 1)
    assert answer["recorded"] == len({item["transaction"] for item in answer["items"]}) == 501
    assert len([*out.iterdir()]) == 501


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (NetworkUnavailable("all are gone"), ExitCode.SOME_FAILED),
    ],
    ids=["interrupted", "left alone"],
)
def test_what_is_final_before_a_run_ends_early_has_its_receipt(
    home: Path, tmp_path: Path, out: Path, error: BaseException, code: ExitCode
) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for number in range(6):
        document(folder, str(number))
    submit, calls = LedgerClient.submit, itertools.count(1)

    async def fail_later(
        self: LedgerClient, transactions: Sequence[bytes], timeout_ms: int
    ) -> tuple[Submission, ...]:
        if next(calls) == 2:
            raise error
        return await submit(self, transactions, timeout_ms)

    options = ("--batch", 1, "--home", home, "--out", out, "--json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "_REQUEST_TXS", 2)
        patch.setattr(LedgerClient, "submit", fail_later)
        ran = run("notarize", folder, *options)
    assert ran.code == code
    items = ran.json["items"]
    assert ["receipt" in item for item in items] == [True, True, False, False, False, False]
    for item in items[:2]:
        assert verify_offline(home, Path(item["path"]), Path(item["receipt"])) == 0
    assert ["transaction" in item for item in items] == [True] * 4 + [False] * 2
    for item in items[2:4]:
        assert f"tx:{item['transaction']}:0" in item["error"]["fix"]
    rest = [item["path"] for item in items[2:]]
    assert run("notarize", *rest, *options).json["recorded"] == 4


def test_a_record_is_found_by_document_reference_type_and_time(
    home: Path, tmp_path: Path, out: Path
) -> None:
    path, reference = document(tmp_path), f"case-{secrets.token_hex(4)}"
    (item,) = notarize(home, out, path, "--ref", reference, "--type", "permit")["items"]
    shown = run("record", "show", path, "--home", home, "--json").json["records"]
    assert [record["reference"] for record in shown] == [reference]
    assert shown[0]["status"] == "in_force"
    now = item["time_ms"]
    for wanted, count in (
        (("--ref", reference), 1),
        (("--ref", reference, "--type", "permit"), 1),
        (("--ref", reference, "--type", "seal"), 0),
        (("--ref", reference, "--from", now, "--to", now + 1), 1),
        (("--ref", reference, "--from", now + 1), 0),
        (("--ref", reference, "--to", now), 0),
        (("--ref", reference, "--from", "2020-01-01"), 1),
    ):
        ran = run("record", "list", *wanted, "--home", home, "--json")
        assert (ran.code, len(ran.json["records"])) == (0, count), wanted
    notarize(home, out, document(tmp_path, "another.txt"))
    ran = run("record", "list", "--limit", 1, "--home", home, "--json")
    assert (len(ran.json["records"]), ran.json["more"]) == (1, True)


def test_what_is_not_there_ends_with_3(home: Path, tmp_path: Path) -> None:
    unknown = document(tmp_path)
    for words in (
        ("record", "show", unknown),
        ("receipt", "fetch", unknown),
        ("receipt", "fetch", f"tx:{'00' * 32}"),
        ("tx", "show", "00" * 32),
        ("block", "show", 1_000_000),
    ):
        ran = run(*words, "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NO_SUCH_RECORD, "GC-2203"), words


def test_a_receipt_can_be_fetched_again_by_document_digest_and_transaction(
    home: Path, tmp_path: Path, out: Path
) -> None:
    path = document(tmp_path)
    (item,) = notarize(home, out, path)["items"]
    subjects = (str(path), item["digest"], f"tx:{item['transaction']}:{item['operation']}")
    for subject in subjects:
        ran = run("receipt", "fetch", subject, "--home", home, "--out", tmp_path / "f", "--json")
        assert (ran.code, ran.json["verdict"]) == (0, "verified")
        assert verify_offline(home, path, Path(ran.json["receipt"])) == 0


def test_a_block_shows_who_certified_it(home: Path, tmp_path: Path, out: Path) -> None:
    (item,) = notarize(home, out, document(tmp_path))["items"]
    block = run("block", "show", item["height"], "--home", home, "--json").json["block"]
    assert item["transaction"] in block["transactions"]
    assert len(block["signers"]) >= 3
    newest = run("block", "show", "--home", home, "--json").json["block"]
    assert newest["height"] >= block["height"]
    parent = run("block", "show", block["height"] - 1, "--home", home, "--json").json["block"]
    assert parent["digest"] == block["parent"]


def test_a_reference_in_force_and_a_stranger_are_refused_by_policy(
    home: Path, tmp_path: Path, out: Path
) -> None:
    reference = f"case-{secrets.token_hex(4)}"
    notarize(home, out, document(tmp_path, "one"), "--ref", reference)
    options = ("--home", home, "--out", out, "--json")
    again = run("notarize", document(tmp_path, "two"), "--ref", reference, *options)
    assert (again.code, again.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2307")
    assert "REFERENCE_IN_FORCE" in again.json["error"]["message"]
    stranger = run("notarize", document(tmp_path, "three"), "--as", "auditor-1", *options)
    assert stranger.code == ExitCode.REFUSED
    assert not (out / "two.receipt").exists()
    assert not (out / "three.receipt").exists()


def test_with_a_network_verify_asks_whether_the_record_still_stands(
    home: Path, tmp_path: Path, out: Path
) -> None:
    path, reference = document(tmp_path), f"permit-{secrets.token_hex(4)}"
    (item,) = notarize(home, out, path, "--ref", reference, "--type", "permit")["items"]
    assert run("trust", "export", "--home", home).code == 0
    arguments = ("verify", path, "--receipt", item["receipt"], "--trust", home / "trust.json")
    asked = (*arguments, "--home", home, "--json")
    assert (run(*asked).code, run(*asked).json["standing"]) == (0, "in_force")
    assert run(*asked).json["asked"] is True

    newer, decision = document(tmp_path, "newer.txt"), document(tmp_path, "decision.txt")
    options = ("--type", "permit", "--home", home, "--out", out, "--json")
    (next_one,) = run("supersede", reference, newer, *options).json["items"]
    assert (run(*asked).code, run(*asked).json["standing"]) == (0, "superseded")

    proof = tmp_path / "before.standing"
    status = ("record", "status", reference, "--type", "permit", "--home", home, "--json")
    assert run(*status, "--prove", proof).json["attestation"]["latest"]["count"] == 2

    (last,) = run("withdraw", reference, "--decision", decision, *options).json["items"]
    assert last["digest"] == digest_by_hand(decision.read_bytes())
    assert verify_offline(home, newer, Path(next_one["receipt"])) == 0
    ran = run(*asked)
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2312")
    assert ran.json["standing"] == "withdrawn"
    assert run(*arguments, "--offline").code == 0, "offline nobody can know"
    assert run(*status).code == ExitCode.NOT_VERIFIED
    assert run("receipt", "fetch", last["digest"], "--home", home, "--out", out).code == 0
    proved = ("verify", decision, "--receipt", last["receipt"], "--trust", home / "trust.json")
    assert run(*proved, "--offline").code == ExitCode.NOT_VERIFIED, "it proves the withdrawal"

    early = run("verify", proof, "--trust", home / "trust.json", "--offline", "--json")
    assert (early.code, early.json["attestation"]["standing"]) == (0, "in_force")
    beside = ("--receipt", next_one["receipt"], "--trust", home / "trust.json", "--json")
    still = run("verify", newer, *beside, "--standing", proof)
    assert (still.code, still.json["standing"], still.json["asked"]) == (0, "in_force", False)

    told = run("history", reference, "--home", home, "--json")
    assert told.code == 0
    (only,) = told.json["histories"]
    assert [row["action"] for row in only["records"]] == ["record", "supersede", "withdraw"]
    assert all(row["verified"] for row in only["records"])
    assert only["complete"] is True

    notarize(home, out, document(tmp_path, "other.txt"), "--ref", reference, "--type", "permit")
    assert run(*status, "--prove", tmp_path / "again.standing").code == 0
    gone = run("verify", newer, *beside, "--standing", tmp_path / "again.standing")
    assert (gone.code, gone.json["standing"]) == (ExitCode.NOT_VERIFIED, "withdrawn")
    assert run(*asked).json["standing"] == "withdrawn"


def test_a_withdrawal_without_a_decision_names_the_document(
    home: Path, tmp_path: Path, out: Path
) -> None:
    path, reference = document(tmp_path), f"permit/{secrets.token_hex(4)}"
    (item,) = notarize(home, out, path, "--ref", reference)["items"]
    ran = run("withdraw", reference, "--home", home, "--out", out, "--json")
    (withdrawn,) = ran.json["items"]
    assert withdrawn["digest"] == item["digest"]
    assert Path(withdrawn["receipt"]).name == f"{reference.partition('/')[2]}.receipt"
    (again,) = notarize(home, out, path, "--ref", reference)["items"]
    assert again["kept"] == item["receipt"], "the proof of the first record replaces no other"


def test_a_reference_is_moved_only_where_it_is_in_force(home: Path, tmp_path: Path) -> None:
    path, reference = document(tmp_path), f"permit-{secrets.token_hex(4)}"
    for words in (("supersede", reference, path), ("withdraw", reference)):
        ran = run(*words, "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2307")
        assert "NEVER recorded" in ran.json["error"]["message"]
    for change in ("--supersede", "--withdraw"):
        ran = run("notarize", path, "--ref", reference, change, "--home", home)
        assert (ran.code, "govchain supersede" in ran.err) == (ExitCode.USAGE, True)


def test_what_was_never_recorded_is_proved_offline(home: Path, tmp_path: Path) -> None:
    proof, reference = tmp_path / "none.standing", f"never-{secrets.token_hex(4)}"
    asked = run("record", "status", reference, "--home", home, "--prove", proof, "--json")
    assert (asked.code, asked.json["verdict"]) == (ExitCode.NO_SUCH_RECORD, "verified")
    assert asked.json["attestation"]["standing"] == "absent"
    assert run("trust", "export", "--home", home).code == 0
    ran = run("verify", proof, "--trust", home / "trust.json", "--offline", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NO_SUCH_RECORD, "GC-2350")
    assert run("history", reference, "--home", home).code == ExitCode.NO_SUCH_RECORD


def test_that_the_chain_only_grew_is_proved_from_what_was_pinned(
    home: Path, tmp_path: Path, out: Path
) -> None:
    early, proof = tmp_path / "early.json", tmp_path / "grown.consistency"
    assert run("trust", "export", "--home", home, "--out", early).code == 0
    notarize(home, out, document(tmp_path))
    made = run(
        "audit", "proof", "--between", early, "tip", "--out", proof, "--home", home, "--json"
    )
    assert made.code == 0
    assert run("trust", "export", "--home", home).code == 0
    for trust in (early, home / "trust.json"):
        ran = run("verify", proof, "--trust", trust, "--offline", "--json")
        assert (ran.code, ran.json["verdict"]) == (0, "verified")
        assert ran.json["attestation"]["old"] == made.json["attestation"]["old"]
    for old, new, code in (("0", "1", 2), ("1", "1000000", 3), ("1", "x", 2), ("2", "1", 2)):
        options = ("--between", old, new, "--out", tmp_path / "other", "--home", home)
        assert run("audit", "proof", *options).code == code
    assert not (tmp_path / "other").exists()


def test_a_running_chain_is_audited_and_the_report_verified_offline(
    home: Path, tmp_path: Path, out: Path
) -> None:
    notarize(home, out, document(tmp_path))
    report = tmp_path / "audit" / "report.json"
    report.parent.mkdir()
    asked = ("--home", home, "--as", "auditor-1", "--json")
    ran = run("audit", "run", "--from", 1, "--jobs", 2, "--out", report, *asked)
    assert (ran.code, ran.json["report"]["verdict"]) == (0, "sound")
    assert ran.json["report"]["blocks_compared"] == ran.json["report"]["to"] >= 1
    assert ran.json["report"]["compared_with"] != ran.json["report"]["source"]
    assert run("trust", "export", "--home", home).code == 0
    told = run("audit", "report", report, "--trust", home / "trust.json", "--json")
    assert (told.code, told.json["report"]["auditor"]) == (0, "auditor-1")
    report.write_bytes(report.read_bytes().replace(b'"sound"', b'"sound "'))
    assert run("audit", "report", report, "--trust", home / "trust.json").code == 1


def test_a_profile_of_another_chain_is_refused(home: Path, tmp_path: Path) -> None:
    text = (home / "profile.toml").read_text(encoding="utf-8")
    chain_id = LocalNetwork(home).genesis.chain_id.hex()
    for name in ("clients", "ca-bundle.pem", "secret.key", "genesis.cbor"):
        (tmp_path / name).symlink_to(home / name)
    profile = tmp_path / "profile.toml"
    profile.write_text(text.replace(chain_id, "ab" * 32), encoding="utf-8")
    ran = run("record", "list", "--profile", profile, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2202")


def test_a_second_process_with_the_same_key_is_refused(home: Path) -> None:
    ran = run("node", "run", "--home", home / "nodes/validator-1", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-3002")


def test_nothing_listens_but_on_loopback(home: Path) -> None:
    status = run("testnet", "status", "--home", home, "--json").json
    owned: set[str] = set()
    for node in status["nodes"]:
        folder = Path(f"/proc/{node['pid']}/fd")
        owned |= {str(each.readlink()) for each in folder.iterdir() if each.is_symlink()}
    inodes = {link[8:-1] for link in owned if link.startswith("socket:")}
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1].split(":")[0])
    assert len(listening) == PORTS_PER_NODE * len(status["nodes"])
    assert all(address.endswith("0100007F") for address in listening)  # 127.0.0.1, perhaps mapped


def test_no_secret_reaches_a_log(home: Path) -> None:
    secret = (home / "secret.key").read_bytes()
    for log in home.rglob("node.log"):
        text = log.read_bytes()
        assert secret not in text
        assert secret.hex().encode() not in text
        assert b"PRIVATE KEY" not in text


def test_the_doctor_finds_the_network_sound(home: Path) -> None:
    ran = run("doctor", "--home", home, "--json")
    found = [each["level"] for each in ran.json["findings"] if each["check"] == "nodes"]
    assert found == ["ok"] * 4, json.dumps(ran.json)
    until = [each for each in ran.json["findings"] if each["check"] == "time-stamping identity"]
    assert [each["level"] for each in until] == ["ok"] * 4
    assert "org-1-tsa may record requests until" in until[0]["detail"]
