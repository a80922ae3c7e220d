"""The composition root: the only room that knows every other. See README.md."""

from node.assembly.run import run_node
from node.assembly.stores import open_ledger_at_rest, open_scratch

__all__ = ["open_ledger_at_rest", "open_scratch", "run_node"]
