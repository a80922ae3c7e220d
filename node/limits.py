"""Every bound of the protocol, with units in the names. Nothing else may live here.

A bound that all validators must share to agree on validity is marked (consensus); changing one of
those changes the protocol version. The others protect this process alone.
"""

from __future__ import annotations

from typing import Final

# Canonical encoding (consensus).
CBOR_DEPTH_MAX: Final = 10  # a NEW-VIEW in its envelope needs 9
CBOR_ITEMS_MAX: Final = 262_144

# Transactions (consensus).
TX_BYTES_MAX: Final = 1_048_576
TX_RECORDS_MAX: Final = 10_000
TX_REFERENCES_MAX: Final = 1_000  # each moves the state, which takes twenty times as long
TX_NONCE_BYTES: Final = 16
TX_LIFETIME_MS_MAX: Final = 600_000
GOVERNANCE_LIFETIME_MS_MAX: Final = 7_776_000_000  # ninety days to approve a change, and hand it in
IDENTITY_ID_BYTES_MAX: Final = 64
RECORD_TYPE_BYTES_MAX: Final = 32
RECORD_REFERENCE_BYTES_MAX: Final = 128

# Blocks (consensus).
BLOCK_TXS_MAX: Final = 5_000
BLOCK_BYTES_MAX: Final = 4_194_304
BLOCK_RECORDS_MAX: Final = 20_000

# Genesis (consensus).
GENESIS_BYTES_MAX: Final = 1_048_576
ORGANISATIONS_MAX: Final = 1_024
IDENTITIES_MAX: Final = 4_096
NAME_BYTES_MAX: Final = 128
DURATION_MS_MAX: Final = 86_400_000
ROTATION_BLOCKS_MAX: Final = 1_000_000

# Membership and certificates (consensus).
VALIDATORS_MAX: Final = 64
CERTIFICATE_BYTES_MAX: Final = 8_192
WINDOW_SLOTS_MAX: Final = 4
STATE_VALUE_BYTES_MAX: Final = 65_536

# The vault (consensus).
VAULT_RECIPIENTS_MAX: Final = 128  # of one document; all of them stand in one value of the state
VAULT_KEYS_MAX: Final = 64  # of one organisation's identities
VAULT_DOCUMENT_BYTES_MAX: Final = 68_719_476_736  # so that its list of chunks is one message

# One peer message on the wire: a whole block with its certificate must fit.
PEER_MESSAGE_BYTES_MAX: Final = 8_388_608
PEER_FRAME_BYTES_MAX: Final = 16_777_216
PEER_QUEUE_BYTES_MAX: Final = 67_108_864

# Evidence of equivocation. Two NEW-VIEWs of 64 validators with two slots are the largest; with more
# slots they may be too long, and then prove nothing to anybody who was not shown both.
EVIDENCE_BYTES_MAX: Final = 2_097_152
EVIDENCE_PER_MESSAGE_MAX: Final = 64

# Mempool of one node.
MEMPOOL_TXS_MAX: Final = 100_000
MEMPOOL_BYTES_MAX: Final = 134_217_728

# A receipt or a trust file read from disk by a verifier.
TOKEN_BYTES_MAX: Final = 16_384
RECEIPT_BYTES_MAX: Final = 4_194_304
RECEIPT_FILE_BYTES_MAX: Final = 6_291_456  # of a format that carries such a receipt
TRUST_FILE_BYTES_MAX: Final = 67_108_864  # it holds the handovers of a whole history
