"""The program of `victim.py` with a mistake in it, for the crash tests to find.

It calls durable what is not synced yet, nine times of ten: votes leave before their records are
safe. While nothing dies, nothing is wrong with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partialmethod
from itertools import count
from typing import Final
from unittest.mock import patch

from node.storage.wal import WriteAheadLog
from tests.crash import victim

COMMAND: Final = (sys.executable, "-P", "-m", "tests.crash.planted", "node", "run")
SYNCED_EVERY: Final = 10


def sync_seldom(
    log: WriteAheadLog, *, calls: count[int], sync: Callable[[WriteAheadLog], int]
) -> int:
    """Claim that all is durable."""
    return log.last_lsn if next(calls) % SYNCED_EVERY else sync(log)


def main() -> int:
    """Run the node of `--home` with its trap and the mistake."""
    mistaken = partialmethod(sync_seldom, calls=count(1), sync=WriteAheadLog.sync)
    with patch.object(WriteAheadLog, "sync", mistaken):
        return victim.main()


if __name__ == "__main__":
    sys.exit(main())
