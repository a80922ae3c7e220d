"""Runs with http-message-signatures alone: `sign KEY ALGORITHM FILE`, or `verify` likewise.

FILE holds a request as JSON: method, url, headers, body. `sign` prints the headers that it adds;
`verify` says accepted, or refused and why.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import requests
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    algorithms,
)

ALGORITHMS = {
    "ed25519": algorithms.ED25519,
    "ecdsa-p256-sha256": algorithms.ECDSA_P256_SHA256,
}


class OneKey:
    """Knows one key, whoever is asked for."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def resolve_public_key(self, key_id: str) -> bytes:  # noqa: ARG002 - of the library's port
        """Return it."""
        return self._pem

    def resolve_private_key(self, key_id: str) -> bytes:  # noqa: ARG002 - of the library's port
        """Return it."""
        return self._pem


def main() -> None:
    """Sign, or verify."""
    verb, key, algorithm, file = sys.argv[1:5]
    told = json.loads(Path(file).read_text())
    request = requests.Request(
        told["method"], told["url"], headers=told["headers"], data=told["body"].encode() or None
    ).prepare()
    resolver = OneKey(Path(key).read_bytes())
    chosen = ALGORITHMS[algorithm]
    if verb == "sign":
        signer = HTTPMessageSigner(signature_algorithm=chosen, key_resolver=resolver)
        before = set(request.headers)
        signer.sign(
            request,
            key_id=told["key_id"],
            created=dt.datetime.fromtimestamp(told["created"], dt.UTC),
            nonce=told["nonce"],
            tag="govchain",
            label="govchain",
            covered_component_ids=tuple(told["components"]),
            body=told["body"].encode(),
        )
        added = {name: request.headers[name] for name in set(request.headers) - before}
        sys.stdout.write(json.dumps(added))
        return
    verifier = HTTPMessageVerifier(signature_algorithm=chosen, key_resolver=resolver)
    try:
        verifier.verify(request, expect_tag="govchain", body=told["body"].encode())
    except HTTPMessageSignaturesException as error:
        sys.stdout.write(f"refused: {type(error).__name__}: {error}")
    else:
        sys.stdout.write("accepted")


main()
