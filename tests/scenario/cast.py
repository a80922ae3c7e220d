"""Who plays: validators with keys, blocks under short names, and every signature made.

Blocks are headers without a real execution: the state root is a hash of the parent and the names of
the transactions, and a block that claims another one is *unsound*. Everything that is signed goes
through the real sign bytes and the real checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import (
    CertificateVote,
    Phase,
    QuorumCertificate,
    Subject,
    Vote,
    build_certificate,
)
from node.chain.epoch import Anchor
from node.chain.genesis import Parameters
from node.chain.membership import Validator, ValidatorSet
from node.chain.merkle import leaf_hash, merkle_root
from node.chain.validation import HeaderContext
from node.consensus.core import Core
from node.consensus.messages import NewView, ViewChange
from node.consensus.state import Recovered
from node.consensus.verification import Verifier
from tests.simulation.keys import KeyRing, RingSigner

STARTED_UTC_MS = 1_760_000_000_000
"""UTC at the start of every play; the trace writes times as what has passed since."""
GENESIS = "genesis"


class ScriptError(Exception):
    """The script cannot be played as it stands."""


@dataclass(frozen=True, slots=True)
class Block:
    """A header that some validator made, and what a validator that executes it finds."""

    name: str
    header: Header
    digest: bytes
    parent: str
    transactions: tuple[str, ...]
    tx_hashes: tuple[bytes, ...]
    sound: bool
    """Whether executing the transactions gives this header."""


class Cast:
    """The fixed part of a play: keys, parameters, blocks and signatures."""

    def __init__(self, size: int, window: int, rotation: str = "") -> None:
        self.parameters = Parameters(window_slots=window)
        match rotation.split():
            case [number, "blocks"]:
                self.parameters = replace(self.parameters, rotation_blocks=int(number))
            case [number, "ms"]:
                self.parameters = replace(self.parameters, rotation_ms=int(number))
            case [_, *_]:
                raise ScriptError(f"expected blocks or ms, got {rotation}")
        ring = KeyRing()
        self.suite = ring.suite
        self._signers = [ring.signer(f"validator {index}") for index in range(size)]
        self.validators = ValidatorSet(
            0,
            tuple(
                Validator(
                    validator_id=f"validator-{index}",
                    organisation=f"org-{index}",
                    vote_key=signer.public_key.encoded,
                    cosignature_key=bytes((index,)) * 32,
                )
                for index, signer in enumerate(self._signers)
            ),
            self.suite,
        )
        self.chain_id = self.suite.hash(b"scenario")
        self.context = HeaderContext(
            self.chain_id,
            0,
            size,
            self.validators.digest,
            self.parameters.digest(self.suite),
        )
        self._names: dict[bytes, str] = {}
        self._blocks: dict[str, Block] = {}
        self.votes: dict[Subject, dict[int, Vote]] = {}
        """Every vote signed."""
        self.view_changes: dict[tuple[int, int], ViewChange] = {}
        """The last VIEW-CHANGE signed, by view and validator."""
        self.genesis = self._add_genesis()

    # ------------------------------------------------------------------ blocks

    def _add_genesis(self) -> Block:
        header = Header(
            chain_id=self.chain_id,
            epoch=0,
            height=0,
            view=0,
            time_ms=STARTED_UTC_MS - 1,
            time_degraded=False,
            parent=bytes(32),
            proposer=0,
            tx_root=self._tx_root(()),
            log_size=0,
            log_roots=(bytes(32),),
            state_root=bytes(32),
            results_root=bytes(32),
            next_set_digest=self.context.set_digest,
            parameters_digest=self.context.parameters_digest,
        )
        return self._add(Block(GENESIS, header, header.digest(self.suite), "", (), (), sound=True))

    def _add(self, block: Block) -> Block:
        self._blocks[block.name] = block
        self._names[block.digest] = block.name
        return block

    def make_block(
        self,
        parent: Block,
        transactions: Sequence[str],
        *,
        view: int,
        time_ms: int,
        name: str = "",
        sound: bool = True,
        degraded: bool = False,
    ) -> Block:
        """Return a block by the primary of `view`; unnamed ones are called by their height."""
        tx_hashes = tuple(self.suite.hash(tx.encode()) for tx in transactions)
        state = self.suite.hash(parent.header.state_root + b"".join(tx_hashes))
        header = replace(
            parent.header,
            height=parent.header.height + 1,
            view=view,
            time_ms=time_ms,
            time_degraded=degraded,
            parent=parent.digest,
            proposer=self.validators.primary(view),
            tx_root=self._tx_root(tx_hashes),
            log_size=parent.header.log_size + 1 + len(tx_hashes),
            state_root=state if sound else bytes(32),
        )
        digest = header.digest(self.suite)
        if digest in self._names:
            return self.block_of(digest)
        if not name:
            name = f"b{header.height}"
            while name in self._blocks:
                name += "'"
        elif name in self._blocks:
            raise ScriptError(f"there is a block {name} already")
        return self._add(
            Block(name, header, digest, parent.name, tuple(transactions), tx_hashes, sound)
        )

    def _tx_root(self, tx_hashes: Sequence[bytes]) -> bytes:
        hash_bytes = self.suite.hash
        return merkle_root([leaf_hash(tx, hash_bytes) for tx in tx_hashes], hash_bytes)

    def block(self, name: str) -> Block:
        """Return a block by its name."""
        if name not in self._blocks:
            raise ScriptError(f"no block {name} so far, only {', '.join(self._blocks)}")
        return self._blocks[name]

    def block_of(self, digest: bytes) -> Block:
        """Return a block by its digest."""
        return self._blocks[self._names[digest]]

    # ------------------------------------------------------------------ signatures

    def signer(self, validator: int) -> RingSigner:
        """Return the key of a validator."""
        if not 0 <= validator < len(self._signers):
            raise ScriptError(f"no validator {validator}")
        return self._signers[validator]

    def sign_vote(self, subject: Subject, validator: int, time_ms: int) -> Vote:
        """Return a validator's vote."""
        message = subject.sign_bytes(self.chain_id, self.validators, time_ms)
        vote = Vote(subject, validator, time_ms, self.signer(validator).sign(message), 0)
        self.votes.setdefault(subject, {})[validator] = vote
        return vote

    def sign_view_change(self, unsigned: ViewChange) -> ViewChange:
        """Return a signed VIEW-CHANGE."""
        signature = self.signer(unsigned.validator).sign(unsigned.sign_bytes(self.chain_id))
        signed = replace(unsigned, signature=signature)
        self.view_changes[signed.view, signed.validator] = signed
        return signed

    def sign_new_view(self, unsigned: NewView) -> NewView:
        """Return a NEW-VIEW signed by the primary of its view."""
        signer = self.signer(self.validators.primary(unsigned.view))
        return replace(unsigned, signature=signer.sign(unsigned.sign_bytes(self.chain_id)))

    def certify(self, phase: Phase, block: Block, view: int) -> CertifiedHeader:
        """Return a certificate from votes that exist."""
        subject = Subject(phase, view, block.header.height, block.digest)
        votes = [vote for _, vote in sorted(self.votes.get(subject, {}).items())]
        if len(votes) < self.validators.quorum:
            voters = [vote.validator for vote in votes]
            raise ScriptError(f"only {voters} voted {phase.name} for {block.name} in view {view}")
        chosen = votes[: self.validators.quorum]
        return CertifiedHeader(block.header, build_certificate(chosen, self.validators))

    def forge(self, phase: Phase, block: Block, view: int, by: int) -> CertifiedHeader:
        """Return a certificate that one validator signed in the name of a quorum."""
        subject = Subject(phase, view, block.header.height, block.digest)
        message = subject.sign_bytes(self.chain_id, self.validators, STARTED_UTC_MS)
        votes = tuple(
            CertificateVote(index, STARTED_UTC_MS, self.signer(by).sign(message))
            for index in range(self.validators.quorum)
        )
        return CertifiedHeader(
            block.header, QuorumCertificate(0, self.validators.digest, subject, votes)
        )

    # ------------------------------------------------------------------ the code under test

    def verifier(self) -> Verifier:
        """Return the real gateway of one validator."""
        return Verifier(self.chain_id, self.validators, self.suite, self.parameters.window_slots)

    def core(self, me: int, recovered: Recovered) -> Core:
        """Return the real core of one validator."""
        return Core(
            validators=self.validators,
            me=me,
            parameters=self.parameters,
            context=self.context,
            anchor=Anchor(0, self.genesis.digest),
            digest_of=lambda header: header.digest(self.suite),
            recovered=recovered,
        )
