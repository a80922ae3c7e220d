"""The HTML verifier beside ours: the same cases given to both, and what they answer compared.

Cases are the vectors, and mutants made of them. As a command it tries as many mutants as asked for:

    python -m tests.outside.html_verifier --count 5000 --seed 1
    python -m tests.outside.html_verifier --every-byte
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

import cbor2
import pytest

from node.cli.kinds import CERTIFICATE, REQUEST, REVOCATIONS, kind_of
from node.cli.kinds import STANDING as STANDING_PROOF
from node.crypto.certificate import split_pem
from node.crypto.revocation import RevocationList
from node.crypto.suite import document_digest_by_id
from node.errors import DecodeError, ProofError
from node.timestamp.compact_verify import is_compact, verify_compact
from node.timestamp.consistency import (
    CONSISTENCY_PREFIX,
    ConsistencyAttestation,
    verify_consistency_proof,
)
from node.timestamp.log.proof import TlogProof
from node.timestamp.log.verify import TlogAttestation, is_tlog_proof, verify_tlog_by_trust
from node.timestamp.opening import open_receipt
from node.timestamp.receipt import Receipt
from node.timestamp.standing import STANDING_PREFIX, StandingAttestation, verify_standing
from node.timestamp.steps import Judgement, Outcome
from node.timestamp.tokens.issuing import without_unsigned_attributes
from node.timestamp.tokens.reading import token_of_answer
from node.timestamp.tokens.request import TimeStampRequest
from node.timestamp.trust import TrustAnchor, load_trust
from node.timestamp.verify import NamedDigest, verify_receipt
from node.web.verifier.bundle import bundle

GOLDEN: Final = Path(__file__).parents[1] / "vectors" / "receipt"
STANDING: Final = GOLDEN.parent / "standing"
NO_DOCUMENT: Final = f"sha-256:{bytes(32).hex()}"
PROGRAM: Final = Path(__file__).parent / "programs" / "with_node.mjs"
FORMATS: Final = (".receipt", ".cose", ".stamped.cose", ".tsr", ".pdf", ".tlog-proof")
REFRESHED_FORMATS: Final = tuple(f".refreshed{suffix}" for suffix in ("", ".cose", ".tsr", ".pdf"))
"""Of a receipt whose epoch is before what the trust file pins."""
BATCH: Final = 500
CLOCKS_MS: Final = (None, None, 1_759_999_940_000, 1_760_000_003_000, 2_000_000_000_000)
"""What the clocks of mutants say: nothing, a minute before the chain, amid it, long after."""

_BESIDE: Final = (STANDING_PROOF, REQUEST, CERTIFICATE, REVOCATIONS)

Json: TypeAlias = Any  # what the page answers


@dataclass(frozen=True, slots=True)
class Case:
    """A receipt in any form, with what it is verified against."""

    name: str
    trust: bytes
    receipt: bytes
    document: str
    now_ms: int | None = None
    """What the clock of both says; None: they have none."""
    beside: tuple[bytes, ...] = ()
    """Files beside it: a proof of standing, a request, certificates, revocation lists."""


def find_node() -> str:
    """Return the path of Node; skip where there is none."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("NOT RUN: Node is not installed (Debian: nodejs)")
    return found


def answers(cases: Sequence[Mapping[str, Json]], folder: Path) -> list[Json]:
    """Return what the script of the page answers to each case, in order."""
    page = folder / "page.html"
    page.write_bytes(bundle())
    lines = "".join(f"{json.dumps(case)}\n" for case in cases)
    command = [find_node(), str(PROGRAM), str(page)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def encoded(case: Case) -> dict[str, Json]:
    """Return a case as the page's program reads it."""
    clock = {} if case.now_ms is None else {"now": case.now_ms}
    return clock | {
        "trust": base64.b64encode(case.trust).decode(),
        "receipt": base64.b64encode(case.receipt).decode(),
        "document": case.document,
        "beside": [base64.b64encode(each).decode() for each in case.beside],
    }


@cache
def anchor_of(trust: bytes) -> TrustAnchor:
    return load_trust(trust)


@cache
def judge(case: Case) -> Judgement[Any]:
    """Return our own answer to a case, by what the file is."""
    data, anchor, document = case.receipt, anchor_of(case.trust), NamedDigest.parse(case.document)
    if data.startswith(STANDING_PREFIX):
        return verify_standing(data, anchor, now_ms=case.now_ms)
    if data.startswith(CONSISTENCY_PREFIX):
        return verify_consistency_proof(data, anchor, now_ms=case.now_ms)
    if is_tlog_proof(data):
        return verify_tlog_by_trust(data, anchor, document, now_ms=case.now_ms)
    if is_compact(data):
        return verify_compact(data, anchor, document, now_ms=case.now_ms)
    kinds = [(kind_of(each), each) for each in case.beside]
    if any(kind not in _BESIDE for kind, _ in kinds):
        raise DecodeError("it is nothing that goes beside a receipt")
    requests = [TimeStampRequest.decode(each) for kind, each in kinds if kind is REQUEST]
    return verify_receipt(
        data,
        anchor,
        document,
        now_ms=case.now_ms,
        request=requests[0] if requests else None,
        certificates=[
            certificate
            for kind, each in kinds
            if kind is CERTIFICATE
            for certificate in (split_pem(each) if each.startswith(b"-") else [each])
        ],
        revocations=[RevocationList.read(each) for kind, each in kinds if kind is REVOCATIONS],
    )


@cache
def follow(case: Case) -> Judgement[Any] | None:
    """Return our own answer to the proof of standing beside a case that is verified, if it is."""
    proofs = [each for each in case.beside if each.startswith(STANDING_PREFIX)]
    if not proofs or judge(case).outcome is not Outcome.VERIFIED:
        return None
    receipt = open_receipt(case.receipt).receipt
    return verify_standing(proofs[0], anchor_of(case.trust), receipt=receipt, now_ms=case.now_ms)


def difference(case: Case, answer: Json) -> str | None:
    """Say in what an answer differs from ours; None if in nothing."""
    followed, theirs = follow(case), answer.get("followed")
    if (followed is None) is not (theirs is None):
        return f"{case.name}: expected {followed}, got {theirs}"
    if followed is not None and (said := _difference(case, followed, theirs)) is not None:
        return f"standing beside {said}"
    return _difference(case, judge(case), answer)


def _difference(case: Case, ours: Judgement[Any], answer: Json) -> str | None:
    theirs = [step["detail"] for step in answer["steps"] if step["passed"]]
    failed = [(step["number"], step["name"]) for step in answer["steps"] if not step["passed"]]
    if any(step["detail"].startswith("unforeseen") for step in answer["steps"]):
        return f"{case.name}: {answer['steps'][-1]['detail']}"
    failure = ours.failure
    expected = (
        ours.outcome.value,
        [] if failure is None else [(int(failure.step), failure.step.name)],
        [step.detail for step in ours.steps if step.passed],
        ours.attestation is not None,
    )
    got = (answer["outcome"], failed, theirs, answer["attested"] is not None)
    if expected != got:
        return f"{case.name}: expected {expected}, got {got}: {answer['steps'][-1]['detail']}"
    told, found = _attested(ours.attestation), answer["attested"]
    if found is not None and told != (said := _plain(found, told)):
        return f"{case.name}: attested {told}, got {said}"
    return None


def _attested(ours: Any) -> dict[str, Json]:  # noqa: ANN401 - of any kind
    """Return what is attested, by the names that the page has for it."""
    if isinstance(ours, TlogAttestation):
        found = _record(ours.leaf) | {"sealTime": 1_000 * (ours.cosigned.seal_time_s or 0)}
        signers = [name.removeprefix("validator/") for name in ours.cosigned.witnesses]
        return found | {"logSize": ours.cosigned.checkpoint.head.size, "signers": signers}
    if isinstance(ours, ConsistencyAttestation):
        ends = {"old": ours.old.height, "height": ours.new.height, "logSize": ours.new.log_size}
        return ends | {"signers": list(ours.signers), "validatorCount": ours.validator_count}
    names = {
        "height": "height",
        "time": "time_ms",
        "timeDegraded": "time_degraded",
        "accuracy": "accuracy_ms",
        "sealTime": "seal_time_ms",
        "checkpointHeight": "checkpoint_height",
        "joinedHeight": "joined_height",
        "validatorCount": "validator_count",
    }
    found = {name: getattr(ours, own) for name, own in names.items() if hasattr(ours, own)}
    if isinstance(ours, StandingAttestation):
        status = None if ours.status is None else ours.status.encode().hex()
        name = [ours.name.issuer, ours.name.type_code, ours.name.reference]
        found |= {"fate": ours.fate.value, "status": status, "name": name}
    elif ours is not None:
        found |= _record(ours)
    return found if ours is None else found | {"signers": list(ours.signers)}


def _record(ours: Any) -> dict[str, Json]:  # noqa: ANN401 - a leaf, or what has its fields
    return {
        "sender": ours.sender,
        "height": ours.height,
        "time": ours.time_ms,
        "tx": ours.tx_id.hex(),
    }


def _plain(theirs: Json, wanted: Mapping[str, Json]) -> dict[str, Json]:
    """Return those members of what the page attests that are wanted, in the same form."""
    leaf, status, name = (theirs.get(each) or {} for each in ("leaf", "status", "name"))
    special = {
        "sender": leaf.get("sender"),
        "tx": leaf.get("txId"),
        "signers": [each["id"] for each in theirs["signers"]],
        "status": status.get("bytes"),
        "name": [name.get("issuer"), name.get("type"), name.get("reference")],
        "old": (theirs.get("old") or {}).get("height"),
    }
    return {each: special.get(each, theirs.get(each)) for each in wanted}


# --- Cases ---


def vector_cases() -> list[Case]:
    """Return every vector of receipts."""
    found = []
    for path in sorted([*GOLDEN.glob("cases/*.json"), *GOLDEN.glob("refreshed-cases/*.json")]):
        vector = json.loads(path.read_text())
        trust = (GOLDEN / "trust" / vector["trust"]).with_suffix(".json").read_bytes()
        receipt = base64.b64decode(vector["receipt"])
        found.append(Case(f"{path.parent.name}/{path.name}", trust, receipt, vector["digest"]))
    return found


def proof_cases() -> list[Case]:
    """Return every vector of proofs that stand by themselves: of standing, and of consistency."""
    found = []
    for path in sorted(STANDING.glob("*/*.json")):
        if path.parent.name == "trust":
            continue
        vector = json.loads(path.read_text())
        trust = (STANDING / "trust" / vector["trust"]).read_bytes()
        proof = base64.b64decode(vector["proof"])
        found.append(Case(f"{path.parent.name}/{path.name}", trust, proof, NO_DOCUMENT))
    return found


def followed_cases() -> list[Case]:
    """Return every vector of a proof of standing beside a receipt."""
    found = []
    for path in sorted(STANDING.glob("standing/*.json")):
        vector = json.loads(path.read_text())
        if vector["receipt"] is None:
            continue
        trust = (STANDING / "trust" / vector["trust"]).read_bytes()
        proof, receipt = (base64.b64decode(vector[name]) for name in ("proof", "receipt"))
        record = Receipt.decode(receipt).leaf.record
        document = f"{document_digest_by_id(record.digest_algorithm).name}:{record.digest.hex()}"
        found.append(Case(path.name, trust, receipt, document, beside=(proof,)))
    return found


def format_cases() -> list[Case]:
    """Return the golden receipt in each form that the page takes, refreshed too; compact ones."""
    document = f"sha-256:{hashlib.sha256((GOLDEN / 'document.txt').read_bytes()).hexdigest()}"
    genesis, compact, later = (
        (GOLDEN / "trust" / f"{name}.json").read_bytes()
        for name in ("genesis", "compact", "pinned-7")
    )
    files = [(f"document.txt{suffix}", genesis) for suffix in FORMATS]
    files += [(f"document.txt{suffix}", later) for suffix in REFRESHED_FORMATS]
    files += [
        ("compact.receipt", compact),
        ("compact.qr.txt", compact),
        ("compact.qr.txt", genesis),
    ]
    found = [Case(name, trust, (GOLDEN / name).read_bytes(), document) for name, trust in files]
    proof = TlogProof.decode((GOLDEN / "document.txt.tlog-proof").read_bytes())
    note = proof.checkpoint
    strange = tuple(replace(line, key_id=bytes(4)) for line in note.signatures)
    for name, lines in (("all", strange), ("few", (*note.signatures[:2], *strange[2:]))):
        data = replace(proof, checkpoint=replace(note, signatures=lines)).encode()
        found.append(Case(f"tlog-proof by {name} strangers", genesis, data, document))
    token = without_unsigned_attributes(token_of_answer((GOLDEN / "document.txt.tsr").read_bytes()))
    return [*found, Case("a token alone", genesis, token, document)]


def mutants(count: int, seed: int) -> Iterator[Case]:
    """Yield cases made of those above, each with one thing changed."""
    random = Random(seed)
    bases = [*vector_cases(), *proof_cases(), *format_cases() * 12]
    for number in range(count):
        base, other = random.choice(bases), random.choice(bases)
        mutate = random.choice((*_BYTE_MUTATIONS, change_value, change_value, change_value))
        receipt = mutate(random, base.receipt, other.receipt)
        document = base.document if random.random() < 0.95 else other.document
        trust = base.trust if random.random() < 0.95 else other.trust
        name, now_ms = f"{number} of {base.name} by {mutate.__name__}", random.choice(CLOCKS_MS)
        yield Case(name, trust, receipt, document, now_ms)


def trust_mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield trust files, each with one thing changed: a byte, a field, or a value inside one."""
    random = Random(seed)
    bases = [path.read_bytes() for path in sorted((GOLDEN / "trust").glob("*.json"))]
    for _ in range(count):
        base, other = random.choice(bases), random.choice(bases)
        if random.random() < 0.4:
            yield random.choice(_BYTE_MUTATIONS)(random, base, other)
            continue
        fields, donor = json.loads(base), json.loads(other)
        name = random.choice([*fields])
        if random.random() < 0.3:
            fields[name] = donor[name]
        elif isinstance(fields[name], list) and fields[name]:
            at = random.randrange(len(fields[name]))
            fields[name][at] = _inside_base64(random, fields[name][at])
        elif name in {"genesis", "pinned"} and fields[name] is not None:
            fields[name] = _inside_base64(random, fields[name])
        else:
            fields[name] = random.choice((None, 1, 1.0, "", "x", [], {}, fields[name]))
        yield json.dumps(fields, indent=random.choice((None, 2))).encode()


def _inside_base64(random: Random, text: str) -> str:
    data = base64.b64decode(text)
    return base64.b64encode(change_value(random, data, data)).decode()


def is_usable(trust: bytes) -> bool:
    """Tell whether we take a trust file."""
    try:
        load_trust(trust)
    except (DecodeError, ProofError):
        return False
    return True


def flips() -> Iterator[Case]:
    """Yield the golden files, but a PDF, most of which is a page, with each byte changed once."""
    for base in format_cases():
        if base.receipt.startswith(b"%PDF-"):
            continue
        for at, byte in enumerate(base.receipt):
            flipped = bytes([byte ^ 1 << at % 8])
            receipt = base.receipt[:at] + flipped + base.receipt[at + 1 :]
            yield replace(base, name=f"{base.name} at {at}", receipt=receipt)


Mutation: TypeAlias = Callable[[Random, bytes, bytes], bytes]


def _flip(random: Random, data: bytes, _other: bytes) -> bytes:
    at = random.randrange(len(data) or 1)
    flipped = bytearray(data)
    if data:
        flipped[at] ^= 1 << random.randrange(8)
    return bytes(flipped)


def _set(random: Random, data: bytes, _other: bytes) -> bytes:
    at = random.randrange(len(data) or 1)
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def _remove(random: Random, data: bytes, _other: bytes) -> bytes:
    at = random.randrange(len(data) or 1)
    return data[:at] + data[at + random.choice((1, 1, 32)) :]


def _insert(random: Random, data: bytes, _other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.randbytes(random.choice((1, 1, 32))) + data[at:]


def _splice(random: Random, data: bytes, other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + other[at:]


_BYTE_MUTATIONS: Final[tuple[Mutation, ...]] = (_flip, _set, _remove, _insert, _splice)


def change_value(random: Random, data: bytes, other: bytes) -> bytes:
    """Change one value of what is encoded, and encode it again."""
    try:
        value, donor = cbor2.loads(data), cbor2.loads(other)
    except (cbor2.CBORDecodeError, ValueError, EOFError):
        return _flip(random, data, other)
    if not isinstance(value, list):
        return _flip(random, data, other)
    places = list(_places(value))
    inside, at = random.choice(places)
    if random.random() < 0.3 and isinstance(donor, list):
        path = _path_of(value, inside, at)
        inside[at] = _at_path(donor, path, inside[at])
    else:
        inside[at] = _changed(random, inside[at])
    return bytes(cbor2.dumps(value))


def _places(value: list[Any]) -> Iterator[tuple[list[Any], int]]:
    for at, item in enumerate(value):
        yield value, at
        if isinstance(item, list):
            yield from _places(item)


def _path_of(value: list[Any], inside: list[Any], at: int) -> list[int]:
    """Return the way from a value to an item of one of its lists."""
    for index, item in enumerate(value):
        if value is inside and index == at:
            return [index]
        if isinstance(item, list) and (path := _path_of(item, inside, at)):
            return [index, *path]
    return []


def _at_path(value: Any, path: Sequence[int], default: Any) -> Any:  # noqa: ANN401 - CBOR
    for at in path:
        if not isinstance(value, list) or at >= len(value):
            return default
        value = value[at]
    return value


def _changed(random: Random, item: Any) -> Any:  # noqa: ANN401 - CBOR
    match item:
        case bool():
            return not item
        case int():
            return max(0, item + random.choice((-1, 1, 1, 1000, 2**63)))
        case bytes() if item:
            return _flip(random, item, item)
        case str() if item:
            return item[:-1] + random.choice("aZ \u00e9\u4e2d\u200b")
        case list() if item:
            at = random.randrange(len(item))
            choices = (item[:at] + item[at + 1 :], [*item, item[at]], item[::-1], None)
            return random.choice(choices)
    return random.choice((None, 0, b"", [], "x"))


def sentence_difference(case: Case, answer: Json) -> str | None:
    """Say where the page says why a step failed in other words than ours; None if in the same."""
    for ours, theirs in ((judge(case), answer), (follow(case), answer.get("followed"))):
        failure = None if ours is None else ours.failure
        if failure is not None and failure.detail != (got := theirs["steps"][-1]["detail"]):
            return f"{case.name}: expected {failure.detail!r}, got {got!r}"
    return None


def compare(cases: Sequence[Case], folder: Path) -> list[str]:
    """Return what differs, a line each."""
    found = answers([encoded(case) for case in cases], folder)
    assert len(found) == len(cases)
    differences = map(difference, cases, found)
    return [each for each in differences if each is not None]


def main(arguments: Sequence[str]) -> int:
    """Try mutants; tell what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-byte", action="store_true", help="change each byte once instead")
    chosen = parser.parse_args(arguments)
    cases = list(flips() if chosen.every_byte else mutants(chosen.count, chosen.seed))
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(cases), BATCH):
            wrong += compare(cases[start : start + BATCH], Path(folder))
            print(f"{min(start + BATCH, len(cases))} tried, {len(wrong)} differ", flush=True)  # noqa: T201
    print(*wrong, sep="\n")  # noqa: T201 - a command tells
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
