"""What is judged of validators at rest, by all that each holds: its store, its pool, its memory.

- A6 roots: validators of equal height hold equal stores.
- B memory stays bounded, whatever a peer sends.
- E3 evidence of misbehaviour verifies, and names nobody who is correct.
- P no pool gives out what is final.
"""

from __future__ import annotations

from collections.abc import Iterable

from node.errors import PeerError
from node.storage import keys
from tests.simulation.history import History
from tests.simulation.memory import held_bytes
from tests.simulation.node import SimulatedValidator
from tests.simulation.violation import Violation

HELD_BYTES_MAX = 425_000
"""What a validator may hold in memory besides its pool and ledger."""
HELD_BYTES_PER_VALIDATOR_MAX = 40_000
"""And for each of those that decide: so many votes of each are remembered."""
HELD_BYTES_PER_CERTIFIED_VOTE_MAX = 500
"""And for each vote of the certificates in VIEW-CHANGEs, of which it holds the newest of each
validator, and those of the NEW-VIEWs that it remembers: as many again twice."""
VIEW_CHANGES_PER_VALIDATOR_MAX = 3
POOLED_BYTES_MAX = 8_000
"""And for each request in its pool."""
_ANY = 1 << 40


def judge_pools(validators: Iterable[SimulatedValidator], history: History) -> None:
    """P."""
    for validator in validators:
        if validator.engine is None:
            continue
        waiting = validator.engine.mempool.take(
            time_ms=history.world.utc_ms, txs_max=_ANY, bytes_max=_ANY, records_max=_ANY
        )
        for verified in waiting:
            if verified.transaction.tx_id in history.executed:
                raise Violation(f"P: validator {validator.index} wants a final transaction")


def judge_memory(validators: Iterable[SimulatedValidator], history: History) -> None:
    """B, whatever a flooder has sent."""
    for validator in validators:
        engine = validator.engine
        if engine is None:
            continue
        shared = (validator.executor, history.genesis, history.world)
        apart = (validator.ledger, validator.log, validator.signer, *shared)
        held = held_bytes(engine, apart)
        most = HELD_BYTES_MAX + POOLED_BYTES_MAX * engine.mempool.pending_count
        size, epoch = len(engine.term.numbers), engine.term.epoch
        most += HELD_BYTES_PER_VALIDATOR_MAX * size
        certified_votes = epoch.parameters.window_slots * epoch.validators.quorum
        view_changes = VIEW_CHANGES_PER_VALIDATOR_MAX * size
        most += HELD_BYTES_PER_CERTIFIED_VOTE_MAX * certified_votes * view_changes
        if held > most:
            raise Violation(f"B: validator {validator.index} holds {held} bytes")


def judge_evidence(validators: Iterable[SimulatedValidator], history: History) -> None:
    """E3, for what any of them keeps."""
    for validator in validators:
        for evidence in validator.ledger.evidence():
            try:
                evidence.check(history.genesis.chain_id, history.sets[evidence.epoch])
            except PeerError as error:
                raise Violation(f"E3: validator {validator.index} keeps {error}") from error
            accused = history.electorates[evidence.epoch].members[evidence.validator]
            if accused in history.correct:
                raise Violation(
                    f"E3: validator {validator.index} accuses {accused}, which is correct, "
                    f"of {evidence.offence.name}"
                )


def judge_stores(validators: Iterable[SimulatedValidator]) -> None:
    """A6, for validators at rest: equal but for certificates, which stand with headers.

    And but for evidence of misbehaviour, which is no part of the chain.
    """
    first: dict[int, tuple[int, dict[bytes, bytes]]] = {}
    for validator in validators:
        rows = validator.store.scan(b"")
        own = (keys.HEADER, keys.EVIDENCE)
        content = {k: v for k, v in rows if not k.startswith(own)}
        height = validator.ledger.tip_height
        other, expected = first.setdefault(height, (validator.index, content))
        if content != expected:
            raise Violation(
                f"A6: validators {other} and {validator.index} differ at height {height}"
            )
