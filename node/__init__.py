"""govchain: a permissioned ledger for governments. This file holds the version only."""

__version__ = "0.1.0"
