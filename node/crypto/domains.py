"""Domain tags: one per use of a hash or signature, and the one way to prefix them.

Only tags live here. A tag separates uses: bytes hashed or signed for one purpose can never be
presented for another. Tags hold no NUL and are followed by one, so no tagged message of one use is
also a tagged message of another, whatever the data.
"""

from __future__ import annotations

from typing import Final

# Transactions: `TX_BODY` gives the transaction id, `TX_SIGNATURE` prefixes that id where the sender
# signs it, and `TX` binds id and signature together: it is what a block commits to.
TX_BODY: Final = b"govchain/v1/tx-body"
TX_SIGNATURE: Final = b"govchain/v1/tx-signature"
TX: Final = b"govchain/v1/tx"

# Consensus.
HEADER: Final = b"govchain/v1/header"
VOTE: Final = b"govchain/v1/vote"
VIEW_CHANGE: Final = b"govchain/v1/view-change"
NEW_VIEW: Final = b"govchain/v1/new-view"

# What a chain is: its genesis, who votes, by which parameters.
GENESIS: Final = b"govchain/v1/genesis"
VALIDATOR_SET: Final = b"govchain/v1/validator-set"
PARAMETERS: Final = b"govchain/v1/parameters"

# Governance: what administrators approve, that a validator to be holds its vote key, and that it
# holds the chain so far: alone, or by its share of a compact certificate.
GOVERNANCE: Final = b"govchain/v1/governance"
POSSESSION: Final = b"govchain/v1/possession"
CHECKPOINT: Final = b"govchain/v1/checkpoint"
SHARE: Final = b"govchain/v1/checkpoint-share"

# The state tree. (The log is an RFC 9162 tree, whose leaf and node prefixes that RFC fixes.)
STATE_KEY: Final = b"govchain/v1/state-key"
STATE_LEAF: Final = b"govchain/v1/state-leaf"
STATE_NODE: Final = b"govchain/v1/state-node"

# A validator's own files: whose log it is.
LOG_IDENTITY: Final = b"govchain/v1/log-identity"

# What an auditor reports.
AUDIT_REPORT: Final = b"govchain/v1/audit-report"

# The vault: what a content key seals, and what wraps it.
VAULT_CONTENT: Final = b"govchain/v1/vault-content"
VAULT_WRAP: Final = b"govchain/v1/vault-wrap"

# What an organisation brings to a chain that is to be founded.
FOUNDER: Final = b"govchain/v1/founder"

# Disclosure: the commitment to one field of a record under its salt, and what an SD-JWT has for it.
FIELD: Final = b"govchain/v1/field"
SD_JWT_SALT: Final = b"govchain/v1/sd-jwt-salt"
# The code of a marked copy, and the pattern that hides it in an image.
WATERMARK: Final = b"govchain/v1/watermark"
WATERMARK_PATTERN: Final = b"govchain/v1/watermark-pattern"

# Private keys at rest.
KEY_FILE: Final = b"govchain/v1/key-file"
# What a device signs when it is opened, to show that it holds the key that is meant.
KEY_PROBE: Final = b"govchain/v1/key-probe"


def tagged(tag: bytes, data: bytes) -> bytes:
    """Return the bytes to hash or sign for the use `tag` names: tag, NUL, data."""
    return tag + b"\x00" + data
