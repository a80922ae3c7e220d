"""A small chain for tests: fixed keys, real signatures, and a state held in plain dicts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from itertools import count

from node.chain.block import Header
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote, build_certificate
from node.chain.genesis import Genesis, Identity, Organisation, Parameters, Role
from node.chain.governance import AddOrganisation
from node.chain.log import LogFrontier
from node.chain.membership import Validator, ValidatorSet
from node.chain.record import Notarization, RecordAction
from node.chain.state_bucket import Bucket
from node.chain.state_tree import StateTree
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
    verify_transaction,
)
from node.crypto.certificate import Authority, Issuance, build_authority_certificate
from node.crypto.signature import P256Signer, SoftwareSigner
from node.crypto.suite import DOCUMENT_DIGESTS, Suite
from node.execution.apply import BlockInputs, ExecutedBlock, Executor, StateReader
from tests.suites import SUITE, signer_from

CREATED_MS = 1_760_000_000_000
HOUR_MS = 3_600_000
YEAR_MS = 31_536_000_000
AGENCIES = ("agency-1", "agency-2")
SHORT_LIVED = "agency-3"
SHORT_LIVED_NOT_AFTER_MS = CREATED_MS + 10_000
_nonces = count(1)


def signer(name: str) -> SoftwareSigner:
    """Return the fixed key of an identity or a validator."""
    return signer_from(hashlib.sha256(name.encode()).digest())


@cache
def signature_of(name: str, message: bytes) -> bytes:
    """Return what a key signed over a message when a test first asked for it.

    SM2 would give another signature each time, and tests make the same vote or certificate twice
    to compare it with what was kept of it.
    """
    return signer(name).sign(message)


def certifier(name: str) -> P256Signer:
    """Return the fixed key of an authority, or of TLS: of P-256 under every suite."""
    return P256Signer.from_secret(hashlib.sha256(name.encode()).digest())


def authority(name: str, organisation: str = "org-1") -> Authority:
    """Return a certificate authority with a key of its own."""
    issuance = Issuance(
        serial_number=1, not_before_ms=CREATED_MS - HOUR_MS, not_after_ms=CREATED_MS + YEAR_MS
    )
    key = certifier(f"authority {name}")
    return Authority(build_authority_certificate(key, organisation, issuance), key)


def newcomer(organisation_id: str) -> AddOrganisation:
    """Return the operation that admits an organisation with an authority of its own."""
    return AddOrganisation(
        Organisation(
            organisation_id=organisation_id,
            name=organisation_id.title(),
            ca_certificate=authority(organisation_id, organisation_id).certificate,
        )
    )


def identity(name: str, role: Role, not_after_ms: int = CREATED_MS + YEAR_MS) -> Identity:
    return Identity(
        identity_id=name,
        organisation="org-1",
        role=role,
        public_key=signer(name).public_key.encoded,
        not_before_ms=CREATED_MS,
        not_after_ms=not_after_ms,
    )


def build_genesis(
    *, suite: Suite = SUITE, name: str = "test", parameters: Parameters | None = None
) -> Genesis:
    """Return a genesis of four validators, three agencies, an auditor and an admin."""
    return Genesis(
        suite=suite,
        name=name,
        created_ms=CREATED_MS,
        testnet=True,
        parameters=parameters or Parameters(),
        organisations=tuple(
            Organisation(organisation_id=f"org-{n}", name=f"Org {n}", ca_certificate=b"\x30\x00")
            for n in range(1, 5)
        ),
        validators=ValidatorSet(
            0,
            tuple(
                Validator(
                    validator_id=f"validator-{n}",
                    organisation=f"org-{n}",
                    vote_key=signer(f"validator-{n}").public_key.encoded,
                    cosignature_key=bytes((n,)) * 32,
                )
                for n in range(1, 5)
            ),
            suite,
        ),
        identities=(
            *(identity(name, Role.AGENCY) for name in AGENCIES),
            identity(SHORT_LIVED, Role.AGENCY, SHORT_LIVED_NOT_AFTER_MS),
            identity("auditor-1", Role.AUDITOR),
            identity("admin-1", Role.ADMIN),
        ),
    )


GENESIS = build_genesis()


def payload(
    *documents: str,
    action: RecordAction = RecordAction.RECORD,
    references: Sequence[str | None] | None = None,
    type_code: str = "licence",
    algorithm: int = 1,
) -> Notarization:
    """Return the payload that notarizes each text by its digest: SHA-256 if unknown."""
    known = {each.digest_id: each.new_hash for each in DOCUMENT_DIGESTS}
    new_hash = known.get(algorithm, hashlib.sha256)
    return Notarization(
        digest_algorithm=algorithm,
        type_code=type_code,
        action=action,
        digests=b"".join(new_hash(document.encode()).digest() for document in documents),
        references=None if references is None else tuple(references),
    )


def tx(
    notarization: Notarization,
    *,
    sender: str = "agency-1",
    not_after_ms: int = CREATED_MS + 300_000,
    chain_id: bytes = GENESIS.chain_id,
    suite: Suite = SUITE,
    key_of: str | None = None,
) -> VerifiedTransaction:
    """Return a transaction signed by its sender, or with the key of `key_of`, and verified."""
    body = TransactionBody(
        chain_id=chain_id,
        sender=sender,
        nonce=next(_nonces).to_bytes(16, "big"),
        not_after_ms=not_after_ms,
        kind=TransactionKind.NOTARIZE,
        payload=notarization,
    )
    key = signer(key_of or sender)
    return verify_transaction(sign_transaction(body, key, suite), key.public_key)


def certify(executed: ExecutedBlock, genesis: Genesis = GENESIS) -> QuorumCertificate:
    """Return the commit certificate of a block, signed by a quorum half a second after T."""
    return certify_header(executed.header, genesis)


def certify_header(header: Header, genesis: Genesis = GENESIS) -> QuorumCertificate:
    """Return the same for a header, whatever it says."""
    validators = genesis.validators
    subject = Subject(Phase.COMMIT, header.view, header.height, header.digest(genesis.suite))
    time_ms = header.time_ms + 500
    message = subject.sign_bytes(genesis.chain_id, validators, time_ms)
    votes = [
        Vote(subject, index, time_ms, signature_of(f"validator-{index + 1}", message), 0)
        for index in range(validators.quorum)
    ]
    return build_certificate(votes, validators)


class DictState:
    """The committed chain in plain dicts: a `StateReader` that grows block by block."""

    def __init__(self, genesis_block: ExecutedBlock) -> None:
        self.values: dict[bytes, bytes] = {}
        self.buckets: dict[bytes, Bucket | None] = {}
        self.tx_ids: set[bytes] = set()
        self.digests: list[bytes] = []
        self.leaves: list[bytes] = []
        self._tip = genesis_block
        self.commit(genesis_block)

    def commit(self, executed: ExecutedBlock) -> None:
        """Take over everything a block does."""
        self._tip = executed
        self.digests.append(executed.digest)
        for key, value in executed.state_writes.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        self.buckets |= executed.tree.buckets
        self.tx_ids |= executed.tx_ids
        self.leaves += executed.leaves

    @property
    def header(self) -> Header:
        return self._tip.header

    @property
    def header_digest(self) -> bytes:
        return self._tip.digest

    @property
    def log_frontier(self) -> LogFrontier:
        return self._tip.frontier

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    @property
    def tree(self) -> StateTree:
        return self._tip.tree.tree

    def bucket(self, place: bytes) -> Bucket | None:
        return self.buckets.get(place)

    def has_transaction(self, tx_id: bytes) -> bool:
        return tx_id in self.tx_ids

    def find_held(self, tx_ids: Sequence[bytes]) -> bytes | None:
        return next(filter(self.has_transaction, tx_ids), None)

    def digest_at(self, height: int) -> bytes | None:
        return self.digests[height] if height < len(self.digests) else None


def next_inputs(parent: StateReader, *, step_ms: int = 1_000, view: int = 0) -> BlockInputs:
    """Return valid inputs for the block after `parent`, `step_ms` later."""
    return BlockInputs(
        height=parent.header.height + 1,
        view=view,
        time_ms=parent.header.time_ms + step_ms,
        time_degraded=False,
        proposer=view % 4,
    )


class SmallChain:
    """An executor with its committed state."""

    def __init__(self, genesis: Genesis = GENESIS) -> None:
        self.genesis = genesis
        self.executor = Executor(genesis)
        self.state = DictState(self.executor.genesis_block())

    def execute(self, *transactions: VerifiedTransaction, step_ms: int = 1_000) -> ExecutedBlock:
        """Execute a block on the tip without committing it."""
        inputs = next_inputs(self.state, step_ms=step_ms)
        return self.executor.execute(self.state, inputs, transactions)

    def commit(self, *transactions: VerifiedTransaction, step_ms: int = 1_000) -> ExecutedBlock:
        """Execute a block on the tip and commit it."""
        executed = self.execute(*transactions, step_ms=step_ms)
        self.state.commit(executed)
        return executed
