"""Execution: what a block does to the state, computed alike by every correct node. Pure."""
