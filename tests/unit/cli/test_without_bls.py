"""What the command says where no library for BLS12-381 can be imported."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.admission import ACCEPTED, FinalResult
from node.chain.block import ResultCode
from node.cli.anchor_chain import ReachedChain
from node.cli.exit_codes import ExitCode
from node.cli.network import Network
from node.cli.receipt_files import save_receipts
from node.cli.verb import CommandError
from node.cli.wording import unchecked_fault
from node.crypto.bls_backend import MissingLibraryError, backend
from node.crypto.certificate import Authority
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import Stamp
from node.timestamp.tokens.of_record import coordinates_of, encode_tsr
from node.timestamp.tokens.request import TimeStampRequest
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, verify_receipt
from tests.unit.cli.command import CHINESE, Ran, run
from tests.unit.cli.served import prepare_home, served
from tests.unit.cli.stamping import StampingServer
from tests.unit.rpc.fake_node import FakeLedger, FakeNode, FakeTicket
from tests.vectors.evidence.authorities import FIRST
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import signer
from tests.vectors.receipt.tokens import issuer_of

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
DOCUMENT = VECTORS / "document.txt"
TRUST = VECTORS / "trust" / "compact.json"
GOOD = VECTORS / "compact.receipt"


@pytest.fixture(autouse=True)
def _no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    backend.cache_clear()
    names = [name for name in sys.modules if name.partition(".")[0] in {"pyblst", "py_ecc"}]
    for name in {*names, "pyblst", "py_ecc"}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibraryError):
        backend()
    yield
    monkeypatch.undo()
    backend.cache_clear()


class Giver(FakeNode):
    """Gives the same receipt for every document."""

    def __init__(self, receipt: bytes) -> None:
        super().__init__("validator-1", FakeLedger())
        self.receipt = receipt

    async def receipt_of_digest(self, digest: bytes) -> bytes | None:  # noqa: ARG002 - whichever
        return self.receipt


class Recorder(Giver):
    """Takes every transaction, and proves it by that receipt."""

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> FakeTicket:
        ticket = await super().submit_batch((), submitter)
        ticket.admissions = [ACCEPTED] * len(transactions)
        ticket.results = [FinalResult(ResultCode.OK, 1, 1, 0, 1)] * len(transactions)
        return ticket

    async def receipts(
        self,
        wanted: bytes,  # noqa: ARG002 - whichever
        first_operation: int,
        limit: int,  # noqa: ARG002
    ) -> Sequence[bytes]:
        return [self.receipt][first_operation:]


def verify(receipt: Path, *options: str, env: dict[str, str] | None = None) -> Ran:
    paths = ("--receipt", receipt, "--trust", TRUST)
    return run("verify", DOCUMENT, *paths, "--offline", *options, env=env)


def from_case(folder: Path, name: str) -> Path:
    path = folder / f"{name}.receipt"
    case = json.loads((VECTORS / "cases" / f"{name}.json").read_bytes())
    path.write_bytes(base64.b64decode(case["receipt"]))
    return path


def test_the_votes_verify_a_receipt_and_what_is_not_checked_is_named() -> None:
    ran = verify(GOOD, "--json")
    assert (ran.code, ran.json["verdict"]) == (ExitCode.DONE, "verified")
    named = {step["name"]: step["unchecked"] for step in ran.json["steps"]}
    assert named == dict.fromkeys(named, None) | {"signatures": "compact certificate"}
    (signatures,) = [step for step in ran.json["steps"] if step["name"] == "signatures"]
    assert signatures["passed"]
    assert "compact certificate not checked: no library" in signatures["detail"]


def test_keys_that_need_a_library_are_not_made_without(tmp_path: Path) -> None:
    home = tmp_path / "network"
    ran = run("testnet", "init", "--home", home, "-n", 1, "--bls", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2342")
    assert "no library for BLS12-381 here" in ran.json["error"]["message"]
    assert "'.[bls]'" in ran.json["error"]["fix"]
    assert ran.err == "", "no defect to be reported"
    assert not home.exists()
    told = run("testnet", "init", "--home", home, "-n", 1)
    assert told.code == ExitCode.DONE, "unless they are asked for, such keys are not made"


def in_a_process_of_its_own(before: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command where this process's modules are not; first run `before` there."""
    program = f"import sys; {before}from node.cli.main import main; sys.exit(main())"
    args = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(args, capture_output=True, check=False, timeout=60)


def test_a_node_whose_chain_needs_the_library_says_so(tmp_path: Path) -> None:
    home = tmp_path / "network"
    made = in_a_process_of_its_own("", "testnet", "init", "--home", home, "-n", 1, "--bls")
    assert made.returncode == ExitCode.DONE, made.stdout
    absent = "sys.modules.update(pyblst=None, py_ecc=None); "
    node = home / "nodes/validator-1"
    done = in_a_process_of_its_own(absent, "node", "run", "--home", node, "--json")
    assert done.returncode == ExitCode.USAGE
    assert json.loads(done.stdout)["error"]["code"] == "GC-2342"


def test_it_is_named_in_words_of_either_language() -> None:
    told = verify(GOOD).out.splitlines()
    assert told[0].startswith("VERIFIED")
    (step,) = [line for line in told if line.startswith("  7. ")]
    assert "ok, but for the compact certificate (" in step
    (line,) = [line for line in told if "NOT CHECKED: the compact certificate" in line]
    assert "pip install -e '.[bls]'" in line
    chinese = verify(GOOD, env=CHINESE).out
    assert "紧凑证明" in chinese
    assert "NOT CHECKED" not in chinese


def test_an_aggregate_that_does_not_verify_adds_nothing_and_takes_nothing(tmp_path: Path) -> None:
    good, forged = (
        verify(path, "--json").json for path in (GOOD, from_case(tmp_path, "7-compact-more"))
    )
    assert good["attestation"] == forged["attestation"]
    assert forged["steps"][6]["unchecked"] == "compact certificate"
    broken = verify(from_case(tmp_path, "7-compact-few"), "--json")
    assert (broken.code, broken.json["steps"][-1]["name"]) == (ExitCode.NOT_VERIFIED, "signatures")


def test_a_code_that_has_no_other_signature_is_not_rooted_and_says_what_to_install() -> None:
    ran = verify(VECTORS / "compact.qr.txt", "--json")
    assert (ran.code, ran.json["verdict"]) == (ExitCode.NOT_ROOTED, "not rooted")
    assert (ran.json["steps"][-1]["name"], ran.json["attestation"]) == ("signature", None)
    assert ran.json["steps"][-1]["unchecked"] == "compact certificate"
    assert ran.json["error"]["code"] == "GC-2310"
    assert "pip install -e '.[bls]'" in ran.json["error"]["fix"]


def test_what_a_validator_gives_is_not_kept_unchecked(tmp_path: Path) -> None:
    anchor = load_trust(TRUST.read_bytes())
    forged = from_case(tmp_path, "7-compact-more").read_bytes()
    verdict = verify_receipt(forged, anchor, NamedDigest.parse(DIGEST))
    fault = unchecked_fault(verdict)
    assert fault is not None
    assert "compact certificate" in fault.message
    assert "'.[bls]'" in fault.fix
    without = verify_receipt(
        replace(Receipt.decode(forged), compact=None).encode(), anchor, NamedDigest.parse(DIGEST)
    )
    assert (without.outcome, unchecked_fault(without)) == (verdict.outcome, None)


def test_a_receipt_that_cannot_be_checked_whole_is_fetched_in_vain(tmp_path: Path) -> None:
    genesis = load_trust(TRUST.read_bytes()).genesis
    given = from_case(tmp_path, "7-compact-more").read_bytes()
    home = prepare_home(tmp_path / "net", genesis)
    out = tmp_path / "receipts"
    words = ("receipt", "fetch", DIGEST, "--home", home, "--out", out, "--json")
    with served(Giver(given), home, genesis.chain_id):
        ran = run(*words)
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_ROOTED, "GC-2310")
    assert "'.[bls]'" in ran.json["error"]["fix"]
    assert not out.exists()
    sound = replace(Receipt.decode(given), compact=None).encode()
    with served(Giver(sound), home, genesis.chain_id):
        assert run(*words).code == ExitCode.DONE
    assert [path.read_bytes() for path in out.iterdir()] == [sound]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the folder of a network of the chain whose receipts cannot be checked whole here."""
    return prepare_home(tmp_path / "net", load_trust(TRUST.read_bytes()).genesis)


def test_a_receipt_that_cannot_be_checked_whole_is_not_kept_of_a_new_record(
    home: Path, tmp_path: Path
) -> None:
    """`supersede`, `withdraw` and `quickstart` record and keep by the same function."""
    given, out = from_case(tmp_path, "7-compact-more").read_bytes(), tmp_path / "receipts"
    chain_id = Receipt.decode(given).chain_id
    words = ("notarize", DOCUMENT, "--home", home, "--out", out, "--json")
    with served(Recorder(given), home, chain_id):
        ran = run(*words)
    assert ran.code == ExitCode.NOT_ROOTED
    error = ran.json["items"][0]["error"]
    assert (error["code"], "'.[bls]'" in error["fix"]) == ("GC-2310", True)
    assert [*out.glob("*.receipt")] == []


def test_a_time_stamp_whose_receipt_cannot_be_checked_whole_is_not_kept(tmp_path: Path) -> None:
    receipt, out = Receipt.decode(GOOD.read_bytes()), tmp_path / "it.tsr"
    genesis = load_trust(TRUST.read_bytes()).genesis
    authority = Authority(genesis.organisations[0].ca_certificate, signer("org-1 authority"))

    class Stamping(StampingServer):
        def answer(self, request: TimeStampRequest) -> bytes:
            stamp = Stamp(
                imprint=request.imprint,
                coordinates=coordinates_of(receipt),
                time_ms=receipt.leaf.time_ms,
                nonce=request.nonce,
            )
            token = issuer_of(authority).issue(stamp)
            return encode_tsr(replace(receipt, token=token)) or b""

    with Stamping(FIRST).serving() as url:
        ran = run("timestamp", DOCUMENT, "--url", url, "--trust", TRUST, "--out", out, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_ROOTED, "GC-2310")
    assert "'.[bls]'" in ran.json["error"]["fix"]
    assert not out.exists()


def test_an_anchor_is_not_given_a_receipt_that_cannot_be_checked_whole(home: Path) -> None:
    given = GOOD.read_bytes()
    receipt = Receipt.decode(given)
    network = Network.open(home, None, receipt.leaf.sender)
    with served(Giver(given), home, receipt.chain_id), pytest.raises(CommandError) as refused:
        ReachedChain(network).find_record(receipt.leaf.record.digest)
    assert refused.value.code == "GC-2310"
    sound = replace(receipt, compact=None).encode()
    with served(Giver(sound), home, receipt.chain_id):
        assert ReachedChain(network).find_record(receipt.leaf.record.digest) == sound


def test_a_receipt_is_exported_from_its_file_alone_and_nothing_is_said_of_it(
    tmp_path: Path,
) -> None:
    """A pure function of a file that somebody has already: nothing of it is verified, or kept."""
    out = tmp_path / "it.receipt"
    ran = run("receipt", "export", GOOD, "--format", "native", "--out", out)
    assert (ran.code, out.read_bytes()) == (ExitCode.DONE, GOOD.read_bytes())
    assert "Nothing was verified: see govchain verify." in ran.out


def test_an_unchecked_receipt_does_not_stand_in_for_a_new_one(tmp_path: Path) -> None:
    anchor = load_trust(TRUST.read_bytes())
    kept = from_case(tmp_path, "7-compact-more")
    places = save_receipts(tmp_path, {kept.name: GOOD.read_bytes()}, anchor)
    place = places[kept.name]
    assert isinstance(place, Path)
    assert place.name == "7-compact-more.1.receipt"
    assert place.read_bytes() == GOOD.read_bytes()
