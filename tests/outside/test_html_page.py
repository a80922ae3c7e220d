"""The HTML verifier as people use it: opened from disk in Chromium, files chosen, verdicts read."""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.sentences.telling import tell_finding
from node.crypto.certificate import Authority, build_authority_certificate, encode_der
from node.crypto.revocation import build_revocation_list, encode_list_pem
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import without_unsigned_attributes
from node.timestamp.tokens.reading import token_of_answer
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, verify_receipt
from node.web.verifier.bundle import FILE_NAME, bundle
from tests.outside.chromium import Browser, Tab, browser, new_tab
from tests.outside.html_verifier import GOLDEN, STANDING
from tests.unit.timestamp.authority import ISSUANCE, TSA
from tests.vectors.receipt.chain import Chain, record_of, signer
from tests.vectors.receipt.story import PLAIN, build_chain
from tests.vectors.receipt.tokens import (
    authority_of,
    issuer_of,
    tsa_certificate_of,
    with_token,
)

DOCUMENT, RECEIPT = GOLDEN / "document.txt", GOLDEN / "document.txt.receipt"
TRUST = GOLDEN / "trust"
STEPS = 10
REVOCATIONS = build_revocation_list(authority_of(build_chain()), [], made_ms=0, next_ms=0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / FILE_NAME
    path.write_bytes(bundle())
    return path


@pytest.fixture
def tab(running: Browser, page: Path) -> Tab:
    opened = new_tab(running)
    opened.open(page)
    return opened


def give(tab: Tab, **files: Path) -> None:
    """Choose a file for each kind named."""
    for kind, path in files.items():
        tab.choose(f"#file-{kind}", path)


def verdict(tab: Tab) -> str:
    """Return the word of the verdict, once it is there."""
    tab.wait_until("document.querySelector('.verdict')")
    word: str = tab.run("document.querySelector('.verdict .word span:last-child').textContent")
    return word


def text(tab: Tab, selector: str) -> str:
    found: str = tab.run(f"document.querySelector({json.dumps(selector)}).innerText")
    return found


def await_text(tab: Tab, said: str) -> None:
    """Wait until the answer says so: a file given last makes the one before void."""
    shown = "document.getElementById('result').innerText"
    tab.wait_until(f"{shown}.includes({json.dumps(said)})")


def steps(tab: Tab) -> list[str]:
    """Return how each step went: passed, failed or not-taken."""
    found: list[str] = tab.run(
        "Array.from(document.querySelectorAll('.steps li'), (item) => item.className)"
    )
    return found


def build_list_of_another() -> bytes:
    """Return an empty list by an authority of no organisation."""
    key = signer("nobody's authority")
    certificate = build_authority_certificate(key, "nobody", ISSUANCE)
    return build_revocation_list(Authority(certificate, key), [], made_ms=0, next_ms=0)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_good_receipt_is_verified_with_no_network(tab: Tab, page: Path) -> None:
    give(tab, document=DOCUMENT, receipt=RECEIPT, trust=TRUST / "genesis.json")
    assert verdict(tab) == "VERIFIED"
    assert steps(tab) == ["passed"] * STEPS
    shown = text(tab, "#result")
    for said in (
        "\u201cdocument.txt\u201d existed no later than 2025-10-09T08:53:22.000Z",
        "block 2, 4 of 4 validators signed",
        "agency-1",
        "2025-0001",
        "2025-10-09 16:53:22.000 UTC+8",
        "within 1000 ms",
        "Organisation of validator-1",
        "This chain is a trial network",
        "It does not say whether the record was replaced or withdrawn",
        hashlib.sha256((TRUST / "genesis.json").read_bytes()).hexdigest(),
        hashlib.sha256(DOCUMENT.read_bytes()).hexdigest(),
    ):
        assert said in shown, said
    assert tab.run("document.activeElement.id") == "result"
    asked = [event["request"]["url"] for event in tab.events("Network.requestWillBeSent")]
    assert asked == [page.as_uri()]
    assert tab.events("Log.entryAdded") == []
    assert tab.events("Runtime.exceptionThrown") == []


def test_its_policy_stops_a_script_that_asks(tab: Tab) -> None:
    refused = "fetch('http://127.0.0.1:9/').then(() => 'answered', () => 'refused')"
    assert tab.run(refused) == "refused"
    assert tab.run("fetch(location.href).then(() => 'answered', () => 'refused')") == "refused"
    marked = "(() => { try { document.body.innerHTML = '<b>x'; return 1; } catch { return 0; } })()"
    assert tab.run(marked) == 0
    said = [event["entry"]["text"] for event in tab.events("Log.entryAdded")]
    assert any("connect-src 'none'" in each for each in said), said


@pytest.mark.parametrize(
    ("name", "failing"), [("wrong-file", 2), ("tampered", 7), ("wrong-trust", 6), ("cut-off", 1)]
)
def test_what_is_wrong_is_named_by_its_step(
    tab: Tab, tmp_path: Path, name: str, failing: int
) -> None:
    data = RECEIPT.read_bytes()
    signature = Receipt.decode(data).block.certificate.votes[1].signature
    changed = data.replace(signature, signature[::-1])
    document = write(tmp_path, "other.txt", b"other") if name == "wrong-file" else DOCUMENT
    receipt = {
        "tampered": write(tmp_path, "tampered.receipt", changed),
        "cut-off": write(tmp_path, "cut.receipt", data[:-1]),
    }.get(name, RECEIPT)
    trust = TRUST / ("compact.json" if name == "wrong-trust" else "genesis.json")
    give(tab, document=document, receipt=receipt, trust=trust)
    assert verdict(tab) == ("NOT ROOTED" if name == "wrong-trust" else "NOT VERIFIED")
    assert steps(tab) == [
        *["passed"] * (failing - 1),
        "failed",
        *["not-taken"] * (STEPS - failing),
    ]
    assert "What is attested" not in text(tab, "#result")
    assert "existed no later" not in text(tab, "#result")


def test_the_trust_file_is_judged_before_any_receipt(tab: Tab, tmp_path: Path) -> None:
    fields = json.loads((TRUST / "genesis.json").read_text())
    fields["chain_id"] = "00" * 32
    give(tab, trust=write(tmp_path, "trust.json", json.dumps(fields).encode()))
    tab.wait_until("document.querySelector('#card-trust.wrong')")
    assert text(tab, "#state-trust").startswith("This trust file is unusable: trust-chain-id")
    give(tab, document=DOCUMENT, receipt=RECEIPT)
    tab.wait_until("document.querySelector('#card-receipt.has')")
    assert tab.run("document.getElementById('result').hidden")


def test_a_file_given_anew_makes_the_verdict_void(tab: Tab, tmp_path: Path) -> None:
    give(tab, document=DOCUMENT, receipt=RECEIPT, trust=TRUST / "genesis.json")
    assert verdict(tab) == "VERIFIED"
    give(tab, document=write(tmp_path, "other.txt", b"other"))
    tab.wait_until("document.querySelector('.verdict.not-verified')")
    give(tab, trust=write(tmp_path, "trust.json", b"{}"))
    tab.wait_until("document.querySelector('#card-trust.wrong')")
    assert tab.run("document.getElementById('result').hidden")
    assert tab.run("document.querySelector('.verdict')") is None


def test_a_tlog_proof_is_verified_by_the_validators_of_the_trust_file(tab: Tab) -> None:
    proof = GOLDEN / "document.txt.tlog-proof"
    give(tab, document=DOCUMENT, receipt=proof, trust=TRUST / "genesis.json")
    assert verdict(tab) == "VERIFIED"
    assert steps(tab) == ["passed"] * 6
    assert "validators cosigned the log, at 2025-" in text(tab, ".verdict")
    assert ": a tlog-proof" in text(tab, "#state-receipt")


def test_a_token_alone_is_one_keys_word(tab: Tab, tmp_path: Path) -> None:
    token = without_unsigned_attributes(token_of_answer((GOLDEN / "document.txt.tsr").read_bytes()))
    alone = write(tmp_path, "alone.tsr", token)
    give(tab, document=DOCUMENT, receipt=alone, trust=TRUST / "genesis.json")
    assert verdict(tab) == "NOT ROOTED"
    assert steps(tab) == [*["passed"] * 8, "failed"]
    assert "at best it is the word of one key" in text(tab, ".verdict")
    assert "existed no later" not in text(tab, "#result")
    chain = build_chain()
    without = with_token(
        chain.receipt(PLAIN, 1), issuer_of(authority_of(chain)), has_certificates=False
    )
    give(tab, receipt=write(tmp_path, "without.receipt", without.encode()))
    tab.wait_until("document.getElementById('state-receipt').innerText.includes('without.receipt')")
    assert verdict(tab) == "NOT VERIFIED"
    assert "give that of its key as the fourth" in text(tab, ".verdict")
    give(tab, beside=write(tmp_path, "tsa.pem", tsa_certificate_of(authority_of(chain))))
    tab.wait_until("document.querySelector('.verdict.verified')")
    assert "\u201ctsa.pem\u201d: certificates" in text(tab, "#state-beside")


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ("standing/good-1", "is in force since 2025-"),
        ("standing/good-absent-beside-nothing", "has NEVER recorded anything of type"),
        ("consistency/good-1-8", "none was removed, changed or moved up to block"),
    ],
)
def test_proofs_by_themselves_need_no_document(
    tab: Tab, tmp_path: Path, vector: str, said: str
) -> None:
    case = json.loads((STANDING / vector).with_suffix(".json").read_text())
    proof = write(tmp_path, "any.name", base64.b64decode(case["proof"]))
    give(tab, receipt=proof, trust=STANDING / "trust" / case["trust"])
    assert verdict(tab) == "VERIFIED"
    assert said in text(tab, ".verdict")
    assert {*steps(tab)} == {"passed"}


@pytest.mark.parametrize(
    ("vector", "words", "said"),
    [
        ("good-record-1", ["VERIFIED", "IN FORCE"], "still in force at 2025-"),
        ("good-record-2", ["SUPERSEDED", "VERIFIED"], "superseded by 2025-"),
        ("good-record-3", ["WITHDRAWN", "VERIFIED"], "WITHDRAWN at 2025-"),
        ("good-record-4-of-1", ["WITHDRAWN", "VERIFIED"], "WITHDRAWN no later than 2025-"),
        ("8-name", ["NOT VERIFIED", "VERIFIED"], "Step 8 failed"),
        ("6-two-of-four", ["NOT VERIFIED", "VERIFIED"], "Step 6 failed"),
    ],
)
def test_what_became_of_a_record_is_said_by_a_proof_beside_its_receipt(
    tab: Tab, tmp_path: Path, vector: str, words: list[str], said: str
) -> None:
    case = json.loads((STANDING / "standing" / f"{vector}.json").read_text())
    beside = json.loads((STANDING / "standing/good-record-2.json").read_text())["receipt"]
    receipt = base64.b64decode(case["receipt"] or beside)
    record = Receipt.decode(receipt).leaf.record
    tab.run(
        "(() => { const field = document.getElementById('digest');"
        f"field.value = {json.dumps(record.digest.hex())};"
        "field.dispatchEvent(new Event('change')); })()"
    )
    give(
        tab,
        receipt=write(tmp_path, "x.receipt", receipt),
        trust=STANDING / "trust" / case["trust"],
        beside=write(tmp_path, "x.standing", base64.b64decode(case["proof"])),
    )
    tab.wait_until("document.querySelectorAll('.verdict').length === 2")
    heads = "Array.from(document.querySelectorAll('.verdict .word'), (each) => each.innerText)"
    assert [each.split("\n")[-1] for each in tab.run(heads)] == words
    assert said in text(tab, "#result")
    is_shown = "NOT VERIFIED" not in words
    assert ("How old that may be is for you to decide" in text(tab, "#result")) is is_shown


def test_what_had_no_say_is_told_and_what_cannot_be_read_stops_it(tab: Tab, tmp_path: Path) -> None:
    stranger = write(tmp_path, "other.crl", build_list_of_another())
    give(tab, document=DOCUMENT, receipt=RECEIPT, trust=TRUST / "genesis.json", beside=stranger)
    await_text(tab, "says nothing of this: it is by")
    assert verdict(tab) == "VERIFIED"
    give(tab, beside=DOCUMENT)
    tab.wait_until("document.querySelector('#card-beside.wrong')")
    assert "is none of these" in text(tab, "#state-beside")
    assert tab.run("document.getElementById('result').hidden")
    give(tab, beside=write(tmp_path, "cut.crl", REVOCATIONS[:-1]))
    tab.wait_until("document.getElementById('state-beside').innerText.includes('cut.crl')")
    tab.wait_until("document.getElementById('state-beside').innerText.includes('cannot be used')")
    assert tab.run("document.getElementById('result').hidden")
    give(tab, receipt=GOLDEN / "document.txt.tlog-proof", beside=stranger)
    await_text(tab, "What is given as the fourth had no say")
    assert verdict(tab) == "VERIFIED"


def test_it_says_what_it_is_given_that_is_for_another_verb(tab: Tab, tmp_path: Path) -> None:
    anchor = json.loads((GOLDEN.parent / "anchor/anchor/good-alone.json").read_text())["anchor"]
    others = {
        "govchain anchor verify": base64.b64decode(anchor),
        "govchain evidence verify": (GOLDEN.parent / "evidence/document.txt.ers").read_bytes(),
        "govchain witness verify": b"govchain.fork-proof@v1\n",
        "is a list of revoked certificates: it proves nothing": REVOCATIONS,
        "is a list of revoked certificates": encode_list_pem(REVOCATIONS),
        "Give it as the fourth, beside a token": encode_der(TSA),
        "save it as UTF-8 without one": codecs.BOM_UTF8 + b"GOVCHAIN1:",
        "give it as the third": (TRUST / "genesis.json").read_bytes(),
    }
    give(tab, document=DOCUMENT, trust=TRUST / "genesis.json")
    for at, (said, data) in enumerate(others.items()):
        give(tab, receipt=write(tmp_path, f"file-{at}", data))
        tab.wait_until(f"document.getElementById('state-receipt').innerText.includes('file-{at}')")
        tab.wait_until("document.querySelector('#card-receipt.wrong')")
        assert said in text(tab, "#state-receipt")
        assert tab.run("document.getElementById('result').hidden")
    give(tab, receipt=write(tmp_path, "nothing", b"nothing of ours"))
    assert verdict(tab) == "NOT VERIFIED"
    assert "begins as none of the files" in text(tab, "#state-receipt")
    give(tab, receipt=RECEIPT, trust=RECEIPT)
    tab.wait_until("document.querySelector('#card-trust.wrong')")
    assert "is no trust file, but a receipt" in text(tab, "#state-trust")
    marked = codecs.BOM_UTF8 + (TRUST / "genesis.json").read_bytes()
    give(tab, trust=write(tmp_path, "marked.json", marked))
    tab.wait_until("document.getElementById('state-trust').innerText.includes('marked.json')")
    assert "begins with a byte order mark (BOM)" in text(tab, "#state-trust")


@pytest.mark.parametrize("suffix", [".cose", ".stamped.cose", ".tsr", ".pdf"])
def test_other_formats_are_opened(tab: Tab, suffix: str) -> None:
    receipt = GOLDEN / f"document.txt{suffix}"
    give(tab, document=DOCUMENT, receipt=receipt, trust=TRUST / "genesis.json")
    assert verdict(tab) == "VERIFIED"
    assert f"carried by {suffix.rsplit('.', 1)[1]}" in text(tab, ".steps")


def test_the_text_of_a_qr_code_and_a_digest_are_enough(tab: Tab) -> None:
    give(tab, trust=TRUST / "compact.json")
    digest = hashlib.sha256(DOCUMENT.read_bytes()).hexdigest()
    compact = (GOLDEN / "compact.qr.txt").read_text()
    for field, entered in (("digest", digest), ("text", compact)):
        tab.run(
            f"(() => {{ const field = document.getElementById({json.dumps(field)});"
            f"field.value = {json.dumps(entered)};"
            "field.dispatchEvent(new Event('change')); })()"
        )
    assert verdict(tab) == "VERIFIED"
    assert steps(tab) == ["passed"] * 6
    assert "only the full receipt shows" in text(tab, "#result")


def test_files_dropped_together_are_told_apart(tab: Tab) -> None:
    dropped = {
        "document.txt": DOCUMENT.read_bytes(),
        "any name": RECEIPT.read_bytes(),
        "another": (TRUST / "genesis.json").read_bytes(),
        "a.crl": REVOCATIONS,
        "any list": encode_list_pem(REVOCATIONS),
    }
    files = json.dumps({name: list(data) for name, data in dropped.items()})
    tab.run(
        f"""(() => {{
          const dataTransfer = new DataTransfer();
          for (const [name, bytes] of Object.entries({files})) {{
            dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
          }}
          const options = {{ dataTransfer, bubbles: true, cancelable: true }};
          document.body.dispatchEvent(new DragEvent('drop', options));
        }})()"""
    )
    assert verdict(tab) == "VERIFIED"
    kind = "a list of revoked certificates"
    said = f"\u201ca.crl\u201d: {kind}; \u201cany list\u201d: {kind}"
    tab.wait_until(f"document.getElementById('state-beside').innerText === {json.dumps(said)}")


def test_markup_in_receipt_and_trust_file_is_text(tab: Tab, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    chain = Chain.found(name=hostile)
    named = {"type_code": "<b>bold</b>", "reference": f"{hostile}</p><script>alert(1)</script>"}
    chain.append(record_of(DOCUMENT.read_bytes(), **named))
    give(
        tab,
        document=write(tmp_path, f"{hostile}.txt", DOCUMENT.read_bytes()),
        receipt=write(tmp_path, "x.receipt", chain.receipt(1).encode()),
        trust=write(tmp_path, "trust.json", chain.trust().encode()),
    )
    assert verdict(tab) == "VERIFIED"
    for selector, said in (
        (".verdict", f"\u201c{hostile}.txt\u201d existed"),
        ("#result", named["type_code"]),
        ("#result", named["reference"]),
        ("#state-trust", f"Chain \u201c{hostile}\u201d"),
    ):
        assert said in text(tab, selector)
    assert tab.run("document.querySelectorAll('img, b, script:not(body > script)').length") == 0
    assert tab.run("document.scripts.length") == 1


def test_a_name_cannot_say_more_than_a_name(tab: Tab, tmp_path: Path) -> None:
    name = f"{'a' * 60}\u202etxt.exe existed no later than 1999{'b' * 60}"
    give(tab, document=write(tmp_path, name, DOCUMENT.read_bytes()))
    give(tab, receipt=RECEIPT, trust=TRUST / "genesis.json")
    assert verdict(tab) == "VERIFIED"
    shown = f"\u201c{'a' * 40}\u2026{'b' * 40}\u201d existed no later than 2025-"
    assert text(tab, ".verdict h2 + p").startswith(shown)
    give(tab, document=write(tmp_path, "a\u202etxt.exe", DOCUMENT.read_bytes()))
    assert "\u201ca\ufffdtxt.exe\u201d" in text(tab, "#state-document")


def test_it_speaks_chinese_where_the_browser_does(
    running: Browser, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = new_tab(running, language="zh-CN")
    tab.open(page)
    assert tab.run("document.documentElement.lang") == "zh-CN"
    give(tab, document=DOCUMENT, receipt=RECEIPT, trust=TRUST / "genesis.json")
    assert verdict(tab) == "核验通过"
    details: list[str] = tab.run(
        "Array.from(document.querySelectorAll('.steps .detail'), (each) => each.textContent)"
    )
    document = f"sha-256:{hashlib.sha256(DOCUMENT.read_bytes()).hexdigest()}"
    anchor = load_trust((TRUST / "genesis.json").read_bytes())
    ours = verify_receipt(RECEIPT.read_bytes(), anchor, NamedDigest.parse(document))
    monkeypatch.setenv("LANGUAGE", "zh_CN")
    assert details == [tell_finding(step.detail) for step in ours.steps]
    assert details != [step.detail for step in ours.steps]
    tab.run("document.getElementById('language-en').click()")
    assert verdict(tab) == "VERIFIED"
    assert tab.run("document.documentElement.lang") == "en"


def test_everything_is_reached_by_keyboard_and_has_a_name(tab: Tab) -> None:
    tree = tab.send("Accessibility.getFullAXTree")["nodes"]
    focusable = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored")
        and any(
            each["name"] == "focusable" and each["value"]["value"]
            for each in node.get("properties", [])
        )
    ]
    named = [name for role, name in focusable if role != "RootWebArea"]
    assert len(named) >= 7, focusable  # two languages, three files, two other ways in
    assert all(named), focusable
    assert {"The document", "The receipt", "The trust file"} <= {
        name.split(":")[0].strip() for name in named
    }, focusable
