"""Reading certified blocks whose transactions are alike, as those that come by the thousand are.

It gives what `CertifiedBlock.decode` gives and refuses what that refuses; transactions are read by
a `TransactionReader`, which compares what they share in place of decoding it again.
"""

from __future__ import annotations

from node.chain.block import CertifiedBlock, Header
from node.chain.certificate import QuorumCertificate
from node.chain.encoding import decode, expect_array, expect_blob, expect_list, expect_version
from node.chain.transaction_reader import TransactionReader
from node.crypto.suite import Suite
from node.limits import BLOCK_TXS_MAX, PEER_MESSAGE_BYTES_MAX, TX_BYTES_MAX


class BlockReader:
    """Reads the certified blocks of one suite. For one thread."""

    def __init__(self, suite: Suite) -> None:
        """Start with nothing remembered."""
        self._suite, self._transactions = suite, TransactionReader(suite)

    def read(self, data: bytes) -> CertifiedBlock:
        """Return what `CertifiedBlock.decode` does; raises `DecodeError` as that."""
        version, header, encoded, certificate = expect_array(
            decode(data, what="certified block", size_max=PEER_MESSAGE_BYTES_MAX),
            4,
            "certified block",
        )
        expect_version(version, "certified block")
        read = self._transactions.read
        return CertifiedBlock(
            Header.from_value(header),
            tuple(
                [
                    read(expect_blob(item, "block transaction", size_max=TX_BYTES_MAX))
                    for item in expect_list(encoded, BLOCK_TXS_MAX, "block transactions")
                ]
            ),
            QuorumCertificate.from_value(certificate, self._suite.signature_size),
        )
