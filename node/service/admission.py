"""The gate transactions pass once per node: decode, judge cheaply, check the signature, remember.

`screen` does what is cheap on the calling thread and returns candidates; `check_signatures` does
what is costly and may run on any thread; both verdicts are one node's opinion, not consensus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from node.chain.admission import Admission, AdmissionCode
from node.chain.genesis import Genesis
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import Payload, Transaction, VerifiedTransaction, signed_bytes
from node.chain.transaction_reader import TransactionReader
from node.crypto.key_tables import verify_many
from node.crypto.signature import PublicKey
from node.disclosure.personal import holds_identity_card
from node.errors import DecodeError
from node.execution.apply import StateReader, sender_key
from node.limits import TX_LIFETIME_MS_MAX
from node.service.effort import Effort
from node.service.reckoning import Reckoning

KEYS_REMEMBERED = 4_096


class Candidate(Struct, frozen=True, gc=False):
    """A transaction that passed `screen`, and the key its signature must verify under."""

    transaction: Transaction
    key: PublicKey


Verdict = Candidate | Admission


class Gate:
    """Judges encoded transactions against what this node knows."""

    def __init__(
        self,
        genesis: Genesis,
        *,
        key_of: Callable[[str], bytes | None],
        why_barred: Callable[[str], str | None],
        is_pending: Callable[[bytes], bool],
        is_final: Callable[[bytes], bool],
        effort: Effort,
    ) -> None:
        """`key_of` reads a sender's key from committed state; `is_` look up a tx_id.

        `why_barred` says what took a sender its rights by that state, None where it has them.

        `effort` is told what judging costs.
        """
        self._effort = effort
        self._chain_id, self._suite = genesis.chain_id, genesis.suite
        self.bytes_max = genesis.parameters.block_bytes_max
        """What a block may hold by the parameters in force."""
        self._why_barred = why_barred
        self._key_of, self._is_pending, self._is_final = key_of, is_pending, is_final
        self._keys: dict[bytes, PublicKey] = {}
        self._reader = TransactionReader(genesis.suite)

    def screen(self, encoded: Sequence[bytes], reckoned: Reckoning) -> list[Verdict]:
        """Judge everything but signatures.

        Nothing is refused for its lifetime that could be included at some time of `reckoned`.
        """
        began_ns = self._effort.begin()
        keys: dict[str, PublicKey | Admission] = {}
        verdicts = [self._screen_one(data, reckoned, keys) for data in encoded]
        self._effort.end(began_ns)
        return verdicts

    def _screen_one(
        self, data: bytes, reckoned: Reckoning, keys: dict[str, PublicKey | Admission]
    ) -> Verdict:
        try:
            transaction = self._reader.read(data)
        except DecodeError as error:
            return Admission(AdmissionCode.MALFORMED, str(error))
        body = transaction.body
        if body.chain_id != self._chain_id:
            return Admission(
                AdmissionCode.WRONG_CHAIN,
                f"expected chain {self._chain_id.hex()}, got {body.chain_id.hex()}",
            )
        if (oversized := self.why_oversized(data)) is not None:
            return oversized
        if self._is_pending(transaction.tx_id):
            return Admission(AdmissionCode.DUPLICATE_PENDING, tx_id=transaction.tx_id)
        if self._is_final(transaction.tx_id):
            return Admission(AdmissionCode.ALREADY_FINAL, tx_id=transaction.tx_id)
        if body.not_after_ms < reckoned.earliest_ms:
            return Admission(
                AdmissionCode.EXPIRED,
                f"valid until {body.not_after_ms}, it is {reckoned.earliest_ms} ms now",
            )
        latest_ms = reckoned.latest_ms + TX_LIFETIME_MS_MAX
        if body.not_after_ms > latest_ms:
            return Admission(
                AdmissionCode.TOO_FAR_AHEAD,
                f"valid until {body.not_after_ms}, at most {latest_ms} allowed",
            )
        if body.sender not in keys:  # read once for all that one sender hands in
            keys[body.sender] = self._key_or_refusal(body.sender)
        refused = personal_in(body.payload) or keys[body.sender]
        return refused if isinstance(refused, Admission) else Candidate(transaction, refused)

    def _key_or_refusal(self, sender: str) -> PublicKey | Admission:
        key = self._key(sender)
        if key is None:
            return Admission(AdmissionCode.UNKNOWN_SENDER, f"{sender!r} is not registered")
        barred = self._why_barred(sender)
        return key if barred is None else Admission(AdmissionCode.NOT_PERMITTED, barred)

    def candidate(self, transaction: Transaction) -> Candidate | None:
        """Return a transaction named by a proposal with its sender's key; None if unknown."""
        key = self._key(transaction.body.sender)
        return None if key is None else Candidate(transaction, key)

    def candidate_after(self, state: StateReader, transaction: Transaction) -> Candidate | None:
        """Return the same by the state before the block: a sender or a key may be new there."""
        key = self._load(sender_key(state, transaction.body.sender))
        return None if key is None else Candidate(transaction, key)

    def why_outdated(self, verified: VerifiedTransaction) -> Admission | None:
        """Refuse what a final block has made its sender's key, or rights, too old for."""
        sender = verified.transaction.body.sender
        if verified.sender_key != self._key_of(sender):
            return Admission(AdmissionCode.BAD_SIGNATURE, f"{sender!r} has another key by now")
        barred = self._why_barred(sender)
        return None if barred is None else Admission(AdmissionCode.NOT_PERMITTED, barred)

    def why_oversized(self, encoded: bytes) -> Admission | None:
        """Refuse what no block can hold by the parameters in force."""
        if len(encoded) <= self.bytes_max:
            return None
        return Admission(
            AdmissionCode.NOT_PERMITTED,
            f"expected at most {self.bytes_max} bytes, got {len(encoded)}",
        )

    def _key(self, sender: str) -> PublicKey | None:
        return self._load(self._key_of(sender))

    def _load(self, encoded: bytes | None) -> PublicKey | None:
        if encoded is None:
            return None
        key = self._keys.get(encoded)
        if key is None:
            if len(self._keys) >= KEYS_REMEMBERED:
                self._keys.clear()
            key = self._keys[encoded] = self._suite.load_public_key(encoded)
        return key


def personal_in(payload: Payload) -> Admission | None:
    """Refuse a first record that names a person to all who read the chain, for good; else None.

    What was recorded before can be replaced and withdrawn still.
    """
    if not isinstance(payload, Notarization) or payload.action is not RecordAction.RECORD:
        return None
    for index, reference in enumerate(payload.references or ()):
        if reference is not None and holds_identity_card(reference):
            return Admission(
                AdmissionCode.NOT_PERMITTED,
                f"reference {index}: holds the number of an identity card, which stays for ever",
            )
    return None


def check_signatures(candidates: Sequence[Candidate]) -> list[VerifiedTransaction | None]:
    """Check each signature; None where it does not verify. Pure, safe on any thread."""
    places: dict[bytes, list[int]] = {}  # by key: many under one are checked together
    for place, candidate in enumerate(candidates):
        places.setdefault(candidate.key.encoded, []).append(place)
    checked: list[VerifiedTransaction | None] = [None] * len(candidates)
    for encoded, under_key in places.items():
        transactions = [candidates[place].transaction for place in under_key]
        verdicts = verify_many(
            candidates[under_key[0]].key,
            [(signed_bytes(each.tx_id), each.signature) for each in transactions],
        )
        for place, transaction, is_good in zip(under_key, transactions, verdicts, strict=True):
            if is_good:
                checked[place] = VerifiedTransaction(transaction, encoded)
    return checked


def vouched_for(
    transactions: Sequence[Transaction], state: StateReader
) -> list[VerifiedTransaction]:
    """Take over the transactions of a certified block on `state`: a quorum checked the signatures.

    Where a sender is unknown there, execution refuses the block.
    """
    keys: dict[str, bytes] = {}
    for transaction in transactions:
        sender = transaction.body.sender
        if sender not in keys:
            keys[sender] = sender_key(state, sender) or b""
    return [VerifiedTransaction(tx, keys[tx.body.sender]) for tx in transactions]
