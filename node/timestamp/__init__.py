"""Receipts, trust files and their verification offline, free of IO. See README.md."""

from node.timestamp.plain_struct import import_chain

import_chain()  # before any module of this package needs it
