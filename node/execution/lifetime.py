"""When a transaction may be included. A rule of its own, as pools and admission apply it too."""

from __future__ import annotations

from node.limits import TX_LIFETIME_MS_MAX


def is_within_lifetime(not_after_ms: int, time_ms: int) -> bool:
    """Say whether a block with T = `time_ms` may carry out a transaction with this not-after.

    T may reach not-after, and lies at most `TX_LIFETIME_MS_MAX` before it: so a transaction id has
    to be remembered that long and no longer. A block with any other transaction is invalid, whether
    its id was ever seen or not: so who remembers all ids and who has those of that time alone, as
    after a snapshot, judge every block alike.
    """
    return time_ms <= not_after_ms <= time_ms + TX_LIFETIME_MS_MAX
