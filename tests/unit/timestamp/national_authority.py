"""A time-stamping authority whose keys are of SM2, with a root of P-256 and one of SM2."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from node.crypto.certificate import (
    Authority,
    build_authority_certificate,
    build_timestamp_certificate,
)
from node.crypto.sm2 import Sm2Signer
from node.timestamp.tokens.issuing import POLICY, TokenIssuer
from tests.unit.timestamp.authority import AUTHORITY, ISSUANCE


def sm2_signer(name: str) -> Sm2Signer:
    """Return the signer that goes by a name."""
    return Sm2Signer.from_secret(hashlib.sha256(f"sm2 {name}".encode()).digest())


SM2_ROOT_KEY: Final = sm2_signer("authority")
SM2_ROOT: Final = build_authority_certificate(SM2_ROOT_KEY, "org-sm2", ISSUANCE)
SM2_TSA_KEY: Final = sm2_signer("time-stamping")
_SERIAL: Final = replace(ISSUANCE, serial_number=9)
SM2_TSA: Final = build_timestamp_certificate(
    AUTHORITY, "validator-1", SM2_TSA_KEY.public_key, _SERIAL
)
"""Issued by the usual root, of P-256."""
SM2_TSA_BY_SM2: Final = build_timestamp_certificate(
    Authority(SM2_ROOT, SM2_ROOT_KEY), "validator-1", SM2_TSA_KEY.public_key, _SERIAL
)


def sm2_issuer(certificate: bytes = SM2_TSA) -> TokenIssuer:
    """Return what issues tokens under one of the two certificates."""
    return TokenIssuer([certificate], SM2_TSA_KEY, policy=POLICY, accuracy_ms=1_000)
