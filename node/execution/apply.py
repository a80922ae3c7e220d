"""Executing a block: the one function from (parent state, block) to everything the block does.

The other rooms enter execution here; `__all__` is what they need. Nothing fails half-way: a block
that breaks a rule raises before anything exists, and what `execute` returns is complete.

Rules a *block* must keep, or it is invalid and `PeerError` names the rule. All are judged by the
parent's state and the block itself, so every correct node agrees:

- B1 `block-transactions`, `block-bytes`, `block-records`: within the limits of the chain;
- B2 `tx-chain`: every transaction names this chain;
- B3 `tx-repeated`: no tx_id twice, neither in the block nor on the chain below it;
- B4 `tx-lifetime`: T lies within the lifetime of every transaction (lifetime.py);
- B5 `tx-sender`: every sender has, in the parent's state, the key its signature verified under;
- B6 `header-...`: the header follows its parent (H1 to H9 of node.chain.validation).

What is in force for a block, who decides and by which parameters, is read from its parent's state.

Rules a *transaction* must keep, or it has no effect, and a failed result inside a valid block says
why. They are judged at the block's height and T, in this order, after what earlier transactions of
the block changed:

- T1 `IDENTITY_NOT_VALID`: the sender's certificate is valid at T, both ends included;
  `IDENTITY_FROZEN`, `IDENTITY_REVOKED`, `ORGANISATION_FROZEN`, `ORGANISATION_REVOKED`: neither the
  sender nor its organisation is;
- T2 `NOT_PERMITTED`: the rule bound to what it does counts its organisation and role (policy.py);
  by default, an agency notarizes and an administrator governs;
- then the rules of the service it addresses (notary.py, governance.py, vault.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from node.chain.block import (
    Header,
    ResultCode,
    TransactionResult,
    TransactionRoots,
    encode_results,
)
from node.chain.epoch import Epoch
from node.chain.genesis import Genesis, Identity
from node.chain.governance import Governance
from node.chain.log import EMPTY_FRONTIER, LogFrontier, TileGrowth
from node.chain.membership import ValidatorSet
from node.chain.merkle import leaf_hashes, merkle_root
from node.chain.policy import GOVERN
from node.chain.record import (
    Notarization,
    RecordAction,
    encode_header_leaf,
    encode_record_leaves,
)
from node.chain.state_bucket import Bucket
from node.chain.state_tree import EMPTY_TREE, StateMap, TreeUpdate, update
from node.chain.transaction import Payload, Transaction, VerifiedTransaction
from node.chain.validation import check_header_follows
from node.chain.vault import (
    Authorise,
    Grant,
    Keep,
    RegisterKey,
    Revoke,
    Rotate,
    Shred,
    Use,
    VaultOperation,
)
from node.errors import PeerError
from node.execution.governance import Ground, govern
from node.execution.identity import why_barred
from node.execution.lifetime import is_within_lifetime
from node.execution.notary import (
    Failure,
    Plain,
    PlainKind,
    Position,
    keys_read,
    notarize,
    operation_of,
)
from node.execution.policy import Founding, why_not
from node.execution.registry import (
    epoch_in_force,
    find_identity,
    genesis_state,
    read_identity,
    sender_key,
)
from node.execution.state import BlockInputs, ExecutedBlock, StateReader
from node.execution.vault import keep_vault
from node.limits import BLOCK_RECORDS_MAX

__all__ = [
    "BlockInputs",
    "ExecutedBlock",
    "Executor",
    "StateReader",
    "sender_key",
    "why_sender_barred",
]

_VAULT_NAMES: Final[Mapping[type[VaultOperation], str]] = {
    RegisterKey: "vault-register-key",
    Keep: "vault-keep",
    Grant: "vault-grant",
    Revoke: "vault-revoke",
    Rotate: "vault-rotate",
    Shred: "vault-shred",
    Authorise: "vault-authorise",
    Use: "vault-use",
}
"""What rules are bound to, of what the vault does."""

_NO_PARENT: Final = bytes(32)
_NO_BUCKETS: Final[Mapping[bytes, Bucket]] = {}


class Executor:
    """Executes blocks of one chain. Holds what genesis fixes, and no state."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._suite = genesis.suite
        self._founding = Founding.of(genesis)
        self.tx_roots = TransactionRoots(genesis.suite.hash)
        """For who checks the list of a block before it is executed."""

    def genesis_block(self) -> ExecutedBlock:
        """Return the block of height 0: no parent, no transactions, an empty log, the first state.

        Its T is when genesis was created.
        """
        state = genesis_state(self._genesis)
        tree = update(EMPTY_TREE, state, _NO_BUCKETS.get, self._suite)
        inputs = BlockInputs(
            height=0,
            view=0,
            time_ms=self._genesis.created_ms,
            time_degraded=False,
            proposer=0,
        )
        epoch = Epoch.of_genesis(self._genesis)
        header = self._header(
            inputs,
            _NO_PARENT,
            epoch=epoch,
            next_set=epoch.validators,
            frontier=EMPTY_FRONTIER,
            tree=tree,
            transactions=(),
            results=(),
        )
        return ExecutedBlock(
            header=header,
            digest=header.digest(self._suite),
            transactions=(),
            tx_ids=frozenset(),
            results=(),
            leaves=(),
            frontier=EMPTY_FRONTIER,
            log_growth=TileGrowth(0, ()),
            state_writes=state,
            tree=tree,
        )

    def execute(
        self,
        parent: StateReader,
        inputs: BlockInputs,
        transactions: Sequence[VerifiedTransaction],
    ) -> ExecutedBlock:
        """Return the block of `transactions` on `parent`; raises `PeerError` where B1 to B6 break.

        Proposer and replicas run this alike: a replica compares the header it gets with the one
        proposed, which covers order, time, content and outcome.
        """
        epoch = epoch_in_force(parent, self._suite)
        tx_ids = self._check_transactions(parent, epoch, inputs.time_ms, transactions)
        senders = _check_senders(parent, transactions)
        before = StateMap(parent.tree, parent.bucket, self._suite)
        run = _Run(parent, inputs, epoch, self._founding, before)
        results = run.carry_out_all([each.transaction for each in transactions], senders)
        hash_function = self._suite.hash
        frontier, log_growth = parent.log_frontier.append(
            leaf_hashes(run.leaves, hash_function), hash_function
        )
        tree = before.update(run.writes)
        header = self._header(
            inputs,
            parent.header_digest,
            epoch=epoch,
            next_set=(run.next_epoch or epoch).validators,
            frontier=frontier,
            tree=tree,
            transactions=transactions,
            results=results,
        )
        check_header_follows(header, parent.header, parent.header_digest, epoch.context)  # B6
        return ExecutedBlock(
            header=header,
            digest=header.digest(self._suite),
            transactions=tuple(transactions),
            tx_ids=tx_ids,
            results=results,
            leaves=tuple(run.leaves),
            frontier=frontier,
            log_growth=log_growth,
            state_writes=run.writes,
            tree=tree,
        )

    @staticmethod
    def _check_transactions(
        parent: StateReader,
        epoch: Epoch,
        time_ms: int,
        transactions: Sequence[VerifiedTransaction],
    ) -> frozenset[bytes]:
        """Check B1 to B4; return the transaction ids."""
        chain_id = epoch.chain_id
        size_bytes = records = 0
        listed: list[bytes] = []
        for verified in transactions:
            transaction = verified.transaction
            body = transaction.body
            listed.append(transaction.tx_id)
            size_bytes += len(transaction.encoded)
            records += body.payload.count
            if body.chain_id != chain_id:
                expected, got = chain_id.hex(), body.chain_id.hex()
                raise PeerError("tx-chain", f"expected {expected}, got {got}")
            if not is_within_lifetime(body.not_after_ms, time_ms):
                raise PeerError("tx-lifetime", f"{transaction.tx_id.hex()} at T = {time_ms}")
        _check_limit("block-transactions", len(transactions), epoch.parameters.block_txs_max)
        _check_limit("block-bytes", size_bytes, epoch.parameters.block_bytes_max)
        _check_limit("block-records", records, BLOCK_RECORDS_MAX)
        held = parent.find_held(listed)
        if held is not None:
            raise PeerError("tx-repeated", f"{held.hex()} is on the chain already")
        tx_ids = frozenset(listed)
        if len(tx_ids) != len(listed):
            raise PeerError("tx-repeated", f"{len(listed)} transactions have {len(tx_ids)} ids")
        return tx_ids

    def _header(
        self,
        inputs: BlockInputs,
        parent_digest: bytes,
        *,
        epoch: Epoch,
        next_set: ValidatorSet,
        frontier: LogFrontier,
        tree: TreeUpdate,
        transactions: Sequence[VerifiedTransaction],
        results: Sequence[TransactionResult],
    ) -> Header:
        hash_function = self._suite.hash
        tx_hashes = tuple([verified.transaction.tx_hash for verified in transactions])
        result_leaves = leaf_hashes(encode_results(results), hash_function)
        return Header(
            chain_id=epoch.chain_id,
            epoch=epoch.number,
            height=inputs.height,
            view=inputs.view,
            time_ms=inputs.time_ms,
            time_degraded=inputs.time_degraded,
            parent=parent_digest,
            proposer=inputs.proposer,
            tx_root=self.tx_roots.of(tx_hashes),
            log_size=frontier.size,
            log_roots=(frontier.root(hash_function),),
            state_root=tree.root,
            results_root=merkle_root(result_leaves, hash_function),
            next_set_digest=next_set.digest,
            parameters_digest=epoch.context.parameters_digest,
        )


class _Run:
    """One pass over the transactions of a block: what they have written and logged so far."""

    def __init__(
        self,
        parent: StateReader,
        inputs: BlockInputs,
        epoch: Epoch,
        founding: Founding,
        before: StateMap,
    ) -> None:
        self._parent, self._epoch, self._founding = parent, epoch, founding
        self._before = before
        self._height, self._time_ms = inputs.height, inputs.time_ms
        self._log_size = parent.log_frontier.size
        self.writes: dict[bytes, bytes | None] = {}
        self.next_epoch: Epoch | None = None
        """Set by the transaction that makes this block a barrier."""
        self.leaves = [encode_header_leaf(parent.header.height, parent.header_digest)]
        self._has_governed = False
        self._verdicts: dict[tuple[str, str], ResultCode | None] = {}
        """By sender and operation, until a transaction of the block governs."""
        self._kinds: dict[tuple[str, str, int], PlainKind] = {}
        """By sender, type and digest algorithm."""

    def carry_out_all(
        self, transactions: Sequence[Transaction], senders: Mapping[str, Identity]
    ) -> tuple[TransactionResult, ...]:
        """Apply the transactions of the block in order, each whole or not at all.

        Nearly all are plain: one first record, of a sender who may, under a reference that was
        never used, or none. What these share is judged and encoded once for all, and what is
        plain in them needs no more: `carry_out`, which any other takes, would do the same to it.
        """
        plain = self._plain(transactions)
        self._before.foresee(_keys_read(transactions, plain))
        stored, writes, leaves = self._before.get, self.writes, self.leaves
        results: list[TransactionResult] = []
        for transaction, row in zip(transactions, plain, strict=True):
            sender = senders[transaction.body.sender]
            if row is None or not self._may(row.kind, sender):
                results.append(self.carry_out(transaction, sender))
                continue
            key, log_index = row.key, self._log_size + len(leaves)
            if key:
                if key in writes or stored(key) is not None:
                    results.append(self.carry_out(transaction, sender))
                    continue
                writes[key] = row.kind.status(row, log_index)
            leaves.append(row.kind.leaf(row, transaction.tx_id))
            results.append(
                TransactionResult(
                    tx_id=transaction.tx_id,
                    code=ResultCode.OK,
                    operation_index=0,
                    log_index=log_index,
                )
            )
        return tuple(results)

    def _plain(self, transactions: Iterable[Transaction]) -> list[Plain | None]:
        """Return each transaction as a plain one; None where it may be none."""
        kinds, height, time_ms = self._kinds, self._height, self._time_ms
        found: list[Plain | None] = []
        for transaction in transactions:
            body = transaction.body
            payload = body.payload
            if type(payload) is not Notarization or payload.action is not RecordAction.RECORD:
                found.append(None)
                continue
            name = (body.sender, payload.type_code, payload.digest_algorithm)
            kind = kinds.get(name)
            if kind is None:
                kind = kinds[name] = PlainKind(payload, body.sender, height, time_ms)
            found.append(kind.plain(payload))
        return found

    def _may(self, kind: PlainKind, sender: Identity) -> bool:
        """Say whether T1 and T2 hold for transactions of a kind: asked as `_why_not` is."""
        if kind.is_permitted is None:
            kind.is_permitted = self._why_not(sender, kind.operation) is None
        return kind.is_permitted

    def carry_out(self, transaction: Transaction, sender: Identity) -> TransactionResult:
        """Apply one transaction, whole or not at all."""
        at = Position(self._height, self._time_ms, self._log_size + len(self.leaves))
        outcome = self._outcome(transaction, sender, at)
        if type(outcome) is Failure:
            return TransactionResult(
                tx_id=transaction.tx_id,
                code=outcome.code,
                operation_index=outcome.operation_index,
                log_index=at.log_index,
            )
        self.writes.update(outcome)
        if isinstance(transaction.body.payload, Notarization):
            self.leaves += encode_record_leaves(
                transaction.body.payload,
                height=at.height,
                time_ms=at.time_ms,
                tx_id=transaction.tx_id,
                sender=transaction.body.sender,
            )
        return TransactionResult(
            tx_id=transaction.tx_id, code=ResultCode.OK, operation_index=0, log_index=at.log_index
        )

    def _outcome(
        self, transaction: Transaction, sender: Identity, at: Position
    ) -> Mapping[bytes, bytes | None] | Failure:
        payload = transaction.body.payload
        refused = self._why_not(sender, operation_name(payload))
        if refused is not None:
            return Failure(refused)  # T1, T2
        if isinstance(payload, Notarization):
            return notarize(payload, transaction.body.sender, at, self._read)
        if isinstance(payload, Governance):
            return self._govern(payload, transaction.tx_id, at)
        return keep_vault(payload, sender, at, self._read, self._epoch.validators.suite)

    def _why_not(self, sender: Identity, operation: str) -> ResultCode | None:
        """Return why a sender may not do what it asks for: asked once per block, as a rule."""
        asked = (sender.identity_id, operation)
        if asked not in self._verdicts:
            now = self._reread(sender) if self._has_governed else sender
            self._verdicts[asked] = why_not(
                self._glance, now, operation, self._time_ms, self._founding
            )
        return self._verdicts[asked]

    def _reread(self, sender: Identity) -> Identity:
        """Return a sender as the transactions before left it; its key is the parent's (B5)."""
        return read_identity(self._glance, sender.identity_id) or sender

    def _govern(
        self, payload: Governance, tx_id: bytes, at: Position
    ) -> Mapping[bytes, bytes | None] | Failure:
        ground = Ground(
            epoch=self._epoch,
            tx_id=tx_id,
            founding=self._founding,
            next_epoch=self.next_epoch,
            digest_at=self._parent.digest_at,
        )
        outcome = govern(payload, at, self._read, ground)
        if isinstance(outcome, Failure):
            return outcome
        self.next_epoch = outcome.next_epoch or self.next_epoch
        self._verdicts.clear()
        for kind in self._kinds.values():
            kind.is_permitted = None
        self._has_governed = True
        return outcome.writes

    def _glance(self, key: bytes) -> bytes | None:
        """Read what the block does not write as a rule: without opening its bucket for that."""
        return self.writes[key] if key in self.writes else self._parent.get(key)

    def _read(self, key: bytes) -> bytes | None:
        return self.writes[key] if key in self.writes else self._before.get(key)


def operation_name(payload: Payload) -> str:
    """Return the name that rules are bound to, of what a transaction asks for."""
    if isinstance(payload, Notarization):
        return operation_of(payload)
    if isinstance(payload, Governance):
        return GOVERN
    return _VAULT_NAMES[type(payload.operation)]


def _keys_read(
    transactions: Iterable[Transaction], plain: Iterable[Plain | None]
) -> Iterator[bytes]:
    """Yield the state keys that notarizations read, of which each record may have its own."""
    for transaction, row in zip(transactions, plain, strict=True):
        if row is not None:
            if row.key:
                yield row.key
        elif isinstance(transaction.body.payload, Notarization):
            yield from keys_read(transaction.body.payload, transaction.body.sender)


def _check_senders(
    parent: StateReader, transactions: Sequence[VerifiedTransaction]
) -> dict[str, Identity]:
    """Check B5; return the senders as they stand in the parent's state."""
    senders: dict[str, Identity] = {}
    for verified in transactions:
        sender_id = verified.transaction.body.sender
        sender = senders.get(sender_id)
        if sender is None:
            sender = find_identity(parent, sender_id)
            if sender is None:
                raise PeerError("tx-sender", f"expected a known identity, got {sender_id!r}")
            senders[sender_id] = sender
        if verified.sender_key != sender.public_key:
            expected, got = sender.public_key.hex(), verified.sender_key.hex()
            raise PeerError("tx-sender", f"{sender_id}: expected key {expected}, got {got}")
    return senders


def why_sender_barred(state: StateReader, sender: str) -> str | None:
    """Return in words what took a sender its rights; None where it has them, and of a stranger."""
    identity = find_identity(state, sender)
    return None if identity is None else why_barred(state.get, sender, identity.organisation)


def _check_limit(rule: str, got: int, limit: int) -> None:
    if got > limit:
        raise PeerError(rule, f"expected at most {limit}, got {got}")
