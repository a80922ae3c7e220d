"""Time stamps under BouncyCastle, as a Java auditor verifies them: ours and broken ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.x509 import ReasonFlags

from node.crypto.certificate import build_authority_certificate, encode_pem
from node.crypto.revocation import RevokedSerial, build_revocation_list
from node.crypto.suite import DOCUMENT_DIGESTS, SHA_256
from node.timestamp.tokens.issuing import (
    Stamp,
    add_chain_proof,
    encode_granted,
    encode_refused,
    take_chain_proof,
)
from node.timestamp.tokens.reading import ReadToken, token_of_answer
from node.timestamp.tokens.refusal import read_refusal
from node.timestamp.tokens.request import Failure, TimeStampRefused, TimeStampRequest
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, Step, verify_receipt
from tests.outside.bouncycastle import verdicts
from tests.unit.timestamp.authority import (
    AUTHORITY,
    COORDINATES,
    DOCUMENT,
    ISSUANCE,
    ISSUER,
    ROOT,
    TIME_MS,
    TSA,
    OpenSsl,
    imprint_of,
    stamp,
)
from tests.unit.timestamp.national_authority import (
    SM2_ROOT,
    SM2_TSA,
    SM2_TSA_BY_SM2,
    sm2_issuer,
)
from tests.vectors.receipt.chain import signer

GOLDEN = Path(__file__).parents[1] / "vectors" / "receipt"


@dataclass(frozen=True)
class Desk:
    """Files of one test, as cases for BouncyCastle."""

    folder: Path

    def write(self, content: bytes) -> Path:
        path = self.folder / hashlib.sha256(content).hexdigest()
        path.write_bytes(content)
        return path

    def case(
        self,
        answer: bytes,
        *,
        document: bytes = DOCUMENT,
        request: bytes | None = None,
        root: bytes = ROOT,
        beside: bytes | None = None,
    ) -> tuple[str | Path, ...]:
        return (
            self.write(answer),
            "-" if request is None else self.write(request),
            self.write(document),
            self.write(encode_pem(root)),
            "-" if beside is None else self.write(encode_pem(beside)),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_our_tokens_are_accepted_for_their_document_by_their_root(desk: Desk) -> None:
    tokens = [
        ISSUER.issue(stamp(imprint=imprint_of(algorithm=algorithm)))
        for algorithm in DOCUMENT_DIGESTS
    ]
    with_proof = [add_chain_proof(token, bytes(3_000)) for token in tokens]
    answers = list(map(encode_granted, (*tokens, *with_proof)))
    root = build_authority_certificate(signer("another"), "another", ISSUANCE)
    cases = [
        *(desk.case(answer) for answer in answers),
        *(desk.case(answer, document=b"another document") for answer in answers),
        *(desk.case(answer, root=root) for answer in answers),
    ]
    said, count = verdicts("TimeStamps", cases), len(answers)
    assert said[:count] == [""] * count
    assert all("imprint" in why for why in said[count : 2 * count])
    assert all("CertPath" in why for why in said[2 * count :])


def test_the_golden_answer_is_accepted_by_its_trust_file(tmp_path: Path) -> None:
    roots = load_trust((GOLDEN / "trust" / "genesis.json").read_bytes()).authorities
    pem, broken = tmp_path / "roots.pem", tmp_path / "broken.tsr"
    pem.write_bytes(b"".join(map(encode_pem, roots)))
    golden = GOLDEN / "document.txt.tsr"
    broken.write_bytes(golden.read_bytes().replace(b"20251009", b"20251008"))
    files = ("-", GOLDEN / "document.txt", pem, "-")
    accepted, refused = verdicts("TimeStamps", [(golden, *files), (broken, *files)])
    assert accepted == ""
    assert refused.startswith("refused")


def test_an_answer_is_held_against_its_request(desk: Desk) -> None:
    query = OpenSsl(desk.folder).query("-sha256", "-cert")  # with a nonce
    request = TimeStampRequest.decode(query)
    assert request.nonce is not None
    good = Stamp.answering(request, COORDINATES, TIME_MS)
    answers = [
        encode_granted(ISSUER.issue(each))
        for each in (good, stamp(nonce=b"\x2a"), stamp(nonce=None))
    ]
    cases = [desk.case(answer, request=query) for answer in answers]
    accepted, *refused = verdicts("TimeStamps", cases)
    assert accepted == ""
    assert all("nonce" in why for why in refused)


def test_a_token_without_certificates_needs_one_beside_it(desk: Desk) -> None:
    answer = encode_granted(ISSUER.issue(stamp(has_certificates=False)))
    cases = [desk.case(answer, beside=beside) for beside in (TSA, None, ROOT)]
    accepted, *refused = verdicts("TimeStamps", cases)
    assert accepted == ""
    assert all("no certificate of the signer" in why for why in refused)


def test_a_revoked_certificate_is_refused_by_its_issuers_list(desk: Desk) -> None:
    answer, serial_number = encode_granted(ISSUER.issue(stamp())), 8
    cases = []
    for revoked in (
        [],
        [RevokedSerial(serial_number, TIME_MS - 5_000, ReasonFlags.superseded)],
        [RevokedSerial(serial_number, TIME_MS - 5_000, ReasonFlags.key_compromise)],
        [RevokedSerial(serial_number + 1, TIME_MS - 5_000, ReasonFlags.key_compromise)],
    ):
        data = build_revocation_list(
            AUTHORITY, revoked, made_ms=TIME_MS - 5_000, next_ms=TIME_MS + 86_400_000
        )
        cases.append((*desk.case(answer), desk.write(data)))
    none, retired, stolen, another = verdicts("TimeStamps", cases)
    assert (none, another) == ("", "")
    assert "CertPathBuilder" in retired  # which does not say why, but differs in the list alone
    assert retired == stolen


def test_no_token_is_no_time_stamp(desk: Desk) -> None:
    answer = encode_refused(TimeStampRefused(Failure.TIME_NOT_AVAILABLE, "the clock is unfit"))
    assert read_refusal(answer) is not None
    (why,) = verdicts("TimeStamps", [desk.case(answer)])
    assert why == "refused: GeneralSecurityException: no token: the clock is unfit"


def test_every_flipped_byte_of_what_is_signed_or_signs_is_refused(desk: Desk) -> None:
    answer = encode_granted(add_chain_proof(ISSUER.issue(stamp()), bytes(100)))
    read = ReadToken.decode(token_of_answer(answer))
    parts = (read.info.encoded, read.signed_attributes, read.signature, TSA)
    flipped = []
    for part in parts:
        (at,) = (at for at in range(len(answer)) if answer.startswith(part, at))
        for position in range(at, at + len(part)):
            changed = bytearray(answer)
            changed[position] ^= 1
            flipped.append(bytes(changed))
    assert len(flipped) > 700
    accepted, *refused = verdicts("TimeStamps", map(desk.case, (answer, *flipped)))
    assert accepted == ""
    assert "" not in refused


def test_it_looks_past_the_chain_proof_of_another_record_which_we_do_not(desk: Desk) -> None:
    document = (GOLDEN / "document.txt").read_bytes()
    golden = token_of_answer((GOLDEN / "document.txt.tsr").read_bytes())
    _, proof = take_chain_proof(golden)
    assert proof is not None
    token = ISSUER.issue(stamp(imprint=imprint_of(document)))
    answer = encode_granted(add_chain_proof(token, proof))
    assert verdicts("TimeStamps", [desk.case(answer, document=document)]) == [""]
    anchor = load_trust((GOLDEN / "trust" / "genesis.json").read_bytes())
    digest = NamedDigest(SHA_256, SHA_256.new_hash(document).digest())
    failure = verify_receipt(answer, anchor, digest).failure
    assert failure is not None
    assert failure.step is Step.TOKEN


def test_tokens_by_sm2_are_accepted_for_their_document_by_either_root(desk: Desk) -> None:
    cases, flipped = [], []
    for leaf, root in ((SM2_TSA, ROOT), (SM2_TSA_BY_SM2, SM2_ROOT)):
        for algorithm in DOCUMENT_DIGESTS:
            token = sm2_issuer(leaf).issue(stamp(imprint=imprint_of(algorithm=algorithm)))
            cases.append(desk.case(encode_granted(token), root=root))
        read = ReadToken.decode(token)
        for part in (read.info.encoded, read.signed_attributes, read.signature):
            at = token.index(part)
            for position in range(at, at + len(part), 7):
                changed = bytearray(token)
                changed[position] ^= 1
                flipped.append(desk.case(encode_granted(bytes(changed)), root=root))
    cases.append(desk.case(encode_granted(token), root=ROOT))
    said = verdicts("TimeStamps", [*cases, *flipped])
    assert said[: len(cases) - 1] == [""] * (len(cases) - 1)
    assert "CertPath" in said[len(cases) - 1]
    assert len(flipped) > 50
    assert "" not in said[len(cases) :]
