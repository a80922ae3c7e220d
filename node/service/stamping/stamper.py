"""Time-stamp tokens (RFC 3161) of committed records, by this node's key: which records get one.

A token is a function of the record, of the request if there was one, and of the node's certificate:
asked again, after a restart too, the node gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from node.chain.block import Header
from node.chain.genesis import Parameters
from node.chain.record import RecordAction
from node.crypto.authority import read_timestamp_certificate
from node.crypto.certificate import encode_pem
from node.crypto.signature import Signer
from node.crypto.suite import document_digest_by_id
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import (
    POLICY,
    Stamp,
    TokenIssuer,
    add_chain_proof,
)
from node.timestamp.tokens.of_record import coordinates_of
from node.timestamp.tokens.request import Failure, Imprint, TimeStampRefused, TimeStampRequest

_ANY_ACCURACY_MS: Final = 1


class Stamper:
    """Issues this node's tokens."""

    def __init__(
        self,
        certificates: Sequence[bytes],
        signer: Signer,
        parameters_at: Callable[[Header], Parameters],
    ) -> None:
        """Sign by `signer`, whom each of `certificates` (PEM or DER) names; else `CryptoError`.

        Of several, as it is renewed, a token goes with the first that was valid at its time. A
        token states the accuracy that the chain promised when its record was made: `parameters_at`
        gives what was in force for a header.
        """
        self._signer = signer
        self._parameters_at = parameters_at
        self._certificates = [read_timestamp_certificate(each) for each in certificates]
        self._issuers: dict[tuple[int, int], TokenIssuer] = {}
        """By place of the certificate, and accuracy."""
        for place in range(len(certificates)):  # that they fit is known now, not at the first token
            self._any_issuer = self._issuer(place, _ANY_ACCURACY_MS)

    @property
    def certificates(self) -> list[bytes]:
        """Return this node's certificates for time-stamping, PEM."""
        return [encode_pem(each.encoded) for each in self._certificates]

    @property
    def ends_ms(self) -> int:
        """Return when the last of them ends."""
        return max(each.not_after_ms for each in self._certificates)

    def check(self, request: TimeStampRequest) -> None:
        """Raise `TimeStampRefused` for a request that gets no token whenever it is recorded."""
        self._any_issuer.check(request)

    def answer(self, receipt: Receipt, request: TimeStampRequest) -> bytes:
        """Return the token that answers a request recorded so, the receipt as its chain proof.

        DER of TimeStampToken. Raises `TimeStampRefused`.
        """
        header = receipt.block.header
        if header.time_degraded:
            message = "recorded, but at a time that the validators did not vouch for"
            raise TimeStampRefused(Failure.TIME_NOT_AVAILABLE, message)
        stamp = Stamp.answering(request, coordinates_of(receipt), header.time_ms)
        proof = replace(receipt, token=None).encode()
        return add_chain_proof(self._issuer_of(header).issue(stamp), proof)

    def token_of(self, receipt: Receipt) -> bytes | None:
        """Return the token of a record as its receipt carries it: without a request, or proof.

        None where there is none: the block is degraded, the certificate was not valid at its time,
        or the record withdraws another.
        """
        header, record = receipt.block.header, receipt.leaf.record
        if header.time_degraded or record.action is RecordAction.WITHDRAW:
            return None
        imprint = Imprint.of(document_digest_by_id(record.digest_algorithm), record.digest)
        stamp = Stamp(imprint=imprint, coordinates=coordinates_of(receipt), time_ms=header.time_ms)
        try:
            return self._issuer_of(header).issue(stamp)
        except TimeStampRefused:
            return None

    def _issuer_of(self, header: Header) -> TokenIssuer:
        for place, each in enumerate(self._certificates):
            if each.not_before_ms <= header.time_ms <= each.not_after_ms:
                return self._issuer(place, self._parameters_at(header).accuracy_ms)
        message = "this node has no time-stamping certificate that was valid at that time"
        raise TimeStampRefused(Failure.TIME_NOT_AVAILABLE, message)

    def _issuer(self, place: int, accuracy_ms: int) -> TokenIssuer:
        issuer = self._issuers.get((place, accuracy_ms))
        if issuer is None:
            certificate = self._certificates[place].encoded
            issuer = TokenIssuer(
                [certificate], self._signer, policy=POLICY, accuracy_ms=accuracy_ms
            )
            self._issuers[place, accuracy_ms] = issuer
        return issuer
