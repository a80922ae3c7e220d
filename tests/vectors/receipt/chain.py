"""A small chain in memory, made from fixed keys, whose every key the caller holds.

It signs whatever it is asked to: honest blocks, forks, degraded times, handovers. Roots that a
receipt never opens (transactions, results, state) are stand-ins; the log is a real RFC 9162 tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from msgspec import structs

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import (
    Phase,
    QuorumCertificate,
    Subject,
    Vote,
    build_certificate,
)
from node.chain.genesis import Genesis, Identity, Organisation, Parameters, Role
from node.chain.membership import Validator, ValidatorSet
from node.chain.merkle import consistency_path, inclusion_path, leaf_hash, merkle_root
from node.chain.record import Notarization, Record, RecordAction, RecordLeaf, encode_header_leaf
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.crypto.certificate import Issuance, build_authority_certificate
from node.crypto.signature import Ed25519Signer, P256Signer, SoftwareSigner
from node.crypto.suite import INTERNATIONAL, SHA_256, Suite
from node.timestamp.consistency import ConsistencyProof, build_consistency
from node.timestamp.cose import CoseSignature, sign_root
from node.timestamp.history import Handover
from node.timestamp.receipt import Receipt, build_receipt
from node.timestamp.trust import TrustFile

SUITE = INTERNATIONAL  # of everything, unless told otherwise
CREATED_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z
AGENCY = "agency-1"


def seed(text: str) -> bytes:
    """Return 32 bytes that stand for `text`: keys, nonces, roots nobody opens."""
    return hashlib.sha256(f"govchain test vector: {text}".encode()).digest()


def signer(name: str) -> P256Signer:
    """Return the vote or transaction key of a validator, authority or agency."""
    return P256Signer.from_secret(seed(name))


def signer_of(suite: Suite, name: str) -> SoftwareSigner:
    """Return the vote or transaction key of the same on a chain of this suite."""
    return suite.signer_type.from_secret(seed(name))


def validator(number: int, suite: Suite = SUITE) -> Validator:
    """Return validator-<number> of org-<number>."""
    name = f"validator-{number}"
    cosigner = Ed25519Signer.from_secret(seed(f"{name} cosignature"))
    return Validator(
        validator_id=name,
        organisation=f"org-{number}",
        vote_key=signer_of(suite, name).public_key.encoded,
        cosignature_key=cosigner.public_key.encoded,
    )


def validator_set(epoch: int, numbers: Sequence[int], suite: Suite = SUITE) -> ValidatorSet:
    """Return the set of these validators."""
    return ValidatorSet(epoch, tuple(validator(number, suite) for number in numbers), suite)


def record_of(document: bytes, **fields: object) -> Record:
    """Return a record of a document under SHA-256, with fields replaced."""
    record = Record(
        digest_algorithm=SHA_256.digest_id,
        digest=hashlib.sha256(document).digest(),
        type_code="certificate",
        reference="2025-0001",
        action=RecordAction.RECORD,
    )
    return structs.replace(record, **fields)


def with_digest_algorithm(leaf: RecordLeaf, digest_id: int) -> RecordLeaf:
    """Return a leaf whose record says that the document was hashed otherwise."""
    return structs.replace(leaf, record=structs.replace(leaf.record, digest_algorithm=digest_id))


def authority_key(suite: Suite, number: int, organisation: str) -> SoftwareSigner:
    """Return the key of an organisation's authority: of P-256 the first, the others the suite's."""
    return signer_of(INTERNATIONAL if number == 0 else suite, f"{organisation} authority")


def build_genesis(name: str, validators: ValidatorSet) -> Genesis:
    """Return a genesis of these validators and one agency."""
    issuance = Issuance(
        serial_number=1, not_before_ms=CREATED_MS, not_after_ms=CREATED_MS + 315_360_000_000
    )
    return Genesis(
        suite=validators.suite,
        name=name,
        created_ms=CREATED_MS,
        testnet=True,
        parameters=Parameters(),
        organisations=tuple(
            Organisation(
                organisation_id=member.organisation,
                name=f"Organisation of {member.validator_id}",
                ca_certificate=build_authority_certificate(
                    authority_key(validators.suite, number, member.organisation),
                    member.organisation,
                    issuance,
                ),
            )
            for number, member in enumerate(validators.validators)
        ),
        validators=validators,
        identities=(
            Identity(
                identity_id=AGENCY,
                organisation="org-1",
                role=Role.AGENCY,
                public_key=signer_of(validators.suite, AGENCY).public_key.encoded,
                not_before_ms=CREATED_MS,
                not_after_ms=CREATED_MS + 63_072_000_000,
            ),
        ),
    )


def vote_for(
    subject: Subject, index: int, time_ms: int, validators: ValidatorSet, chain_id: bytes
) -> Vote:
    """Return the vote of the member at `index`, signed with its real key."""
    key = signer_of(validators.suite, validators.validators[index].validator_id)
    message = subject.sign_bytes(chain_id, validators, time_ms)
    return Vote(subject, index, time_ms, key.sign(message), validators.epoch)


def certify(
    header: Header,
    validators: ValidatorSet,
    voters: Sequence[int] = (0, 1, 2),
    *,
    delays_ms: Sequence[int] | None = None,
    phase: Phase = Phase.COMMIT,
    view: int | None = None,
    chain_id: bytes | None = None,
) -> QuorumCertificate:
    """Return votes of these members for a header, cast so long after T: 40 + 7 k ms unless given.

    Phase, view and chain are what they sign, the header's unless given.
    """
    subject = Subject(
        phase, header.view if view is None else view, header.height, header.digest(validators.suite)
    )
    delays = delays_ms or [40 + 7 * order for order in range(len(voters))]
    votes = [
        vote_for(subject, index, header.time_ms + delay, validators, chain_id or header.chain_id)
        for index, delay in zip(voters, delays, strict=True)
    ]
    return build_certificate(votes, validators)


@dataclass
class Chain:
    """A growing chain; position in `blocks` is height - 1."""

    genesis: Genesis
    validators: ValidatorSet
    tip: Header
    blocks: list[CertifiedHeader] = field(default_factory=list)
    handovers: list[Handover] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)

    @classmethod
    def found(
        cls,
        name: str = "vectors",
        numbers: Sequence[int] = (1, 2, 3, 4),
        suite: Suite = SUITE,
    ) -> Self:
        """Return a chain at height 0."""
        validators = validator_set(0, numbers, suite)
        genesis = build_genesis(name, validators)
        tip = Header(
            chain_id=genesis.chain_id,
            epoch=0,
            height=0,
            view=0,
            time_ms=CREATED_MS,
            time_degraded=False,
            parent=bytes(32),
            proposer=0,
            tx_root=suite.hash(b""),
            log_size=0,
            log_roots=(suite.hash(b""),),
            state_root=seed("state 0"),
            results_root=suite.hash(b""),
            next_set_digest=validators.digest,
            parameters_digest=genesis.parameters.digest(suite),
        )
        return cls(genesis, validators, tip)

    @property
    def suite(self) -> Suite:
        """The suite it is founded on."""
        return self.genesis.suite

    def fork(self) -> Self:
        """Return a copy that grows on its own."""
        return replace(
            self,
            blocks=list(self.blocks),
            handovers=list(self.handovers),
            leaves=list(self.leaves),
        )

    def append(
        self,
        *records: Record,
        voters: Sequence[int] | None = None,
        next_set: ValidatorSet | None = None,
        after_ms: int = 1_000,
        view: int = 0,
        degraded: bool = False,
        state_root: bytes | None = None,
    ) -> int:
        """Commit one transaction per record and return the block's height.

        `voters` are indices (a bare quorum unless given), `next_set` ends the epoch.
        """
        parent, height = self.tip, self.tip.height + 1
        time_ms = parent.time_ms + after_ms
        self.leaves.append(encode_header_leaf(parent.height, parent.digest(self.suite)))
        self.leaves += [self._leaf(height, time_ms, record) for record in records]
        header = replace(
            parent,
            epoch=self.validators.epoch,
            height=height,
            view=view,
            time_ms=time_ms,
            time_degraded=degraded,
            parent=parent.digest(self.suite),
            proposer=self.validators.primary(view),
            tx_root=seed(f"transactions {height}"),
            log_size=len(self.leaves),
            log_roots=(merkle_root(self.leaf_hashes(len(self.leaves)), self.suite.hash),),
            state_root=state_root or seed(f"state {height}"),
            results_root=seed(f"results {height}"),
            next_set_digest=(next_set or self.validators).digest,
        )
        chosen = range(self.validators.quorum) if voters is None else voters
        block = CertifiedHeader(header, certify(header, self.validators, chosen))
        self.tip = header
        self.blocks.append(block)
        if next_set is not None:
            self.handovers.append(Handover(block, next_set))
            self.validators = next_set
        return height

    def receipt(self, height: int, operation: int = 0) -> Receipt:
        """Return the receipt of a block's record, with every handover up to its epoch.

        It has a COSE signature by validator-2, who is of every set of the usual story, unless
        nobody on the chain has a key for one.
        """
        block = self.blocks[height - 1]
        before = self.blocks[height - 2].header.log_size if height > 1 else 0
        index, size = before + 1 + operation, block.header.log_size
        return build_receipt(
            self.suite,
            self.leaves[index],
            index,
            inclusion_path(self.leaf_hashes(size), index, self.suite.hash),
            block=block,
            handovers=self.handovers[: block.header.epoch],
            cose=self.cose_signature(block.header),
        )

    def consistency(self, old_height: int, new_height: int) -> ConsistencyProof:
        """Return the proof that joins two heights, with every handover up to the later epoch."""
        old, block = self.blocks[old_height - 1].header, self.blocks[new_height - 1]
        hashes = self.leaf_hashes(block.header.log_size)
        return build_consistency(
            self.suite,
            old,
            block,
            log_path=consistency_path(hashes, old.log_size, self.suite.hash),
            header_path=inclusion_path(hashes, old.log_size, self.suite.hash),
            handovers=self.handovers[: block.header.epoch],
        )

    def cose_signature(self, header: Header) -> CoseSignature | None:
        """Return validator-2's signature of a block's log root, if it is of the block's set."""
        name = "validator-2"
        if self.suite is not INTERNATIONAL:
            return None
        epoch = header.epoch
        members = self.handovers[epoch - 1].next_set if epoch else self.genesis.validators
        if members.index_of(name) is None:
            return None
        return sign_root(header.chain_id, header.log_roots[0], signer(name))

    def trust(self, pinned_height: int | None = None) -> TrustFile:
        """Return a trust file that pins the genesis, or a height as well."""
        pinned = None if pinned_height is None else self.blocks[pinned_height - 1]
        return TrustFile(
            chain_id=self.genesis.chain_id,
            genesis=self.genesis,
            handovers=tuple(self.handovers[: pinned.header.epoch] if pinned else ()),
            pinned=pinned,
        )

    def _leaf(self, height: int, time_ms: int, record: Record) -> bytes:
        """Return the leaf of a record committed by a transaction of its own."""
        body = TransactionBody(
            chain_id=self.genesis.chain_id,
            sender=AGENCY,
            nonce=seed(f"nonce {height} {record.digest.hex()}")[:16],
            not_after_ms=time_ms + 60_000,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=record.digest_algorithm,
                type_code=record.type_code,
                action=record.action,
                digests=record.digest,
                references=None if record.reference is None else (record.reference,),
            ),
        )
        transaction = sign_transaction(body, signer_of(self.suite, AGENCY), self.suite)
        return RecordLeaf(
            height=height,
            time_ms=time_ms,
            tx_id=transaction.tx_id,
            operation_index=0,
            sender=AGENCY,
            record=record,
        ).encode()

    def leaf_hashes(self, size: int) -> list[bytes]:
        """Return the hashes of the first leaves of the log."""
        return [leaf_hash(leaf, self.suite.hash) for leaf in self.leaves[:size]]
