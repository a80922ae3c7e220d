"""Whether an authority is outside the chain that it stamps: a validator's own word adds nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from node.crypto.authority import AuthorityCertificate
from node.errors import CryptoError
from node.timestamp.trust import TrustAnchor


def find_insider(certificates: Sequence[bytes], trust: TrustAnchor) -> str | None:
    """Return who of the chain is behind any of these certificates (PEM or DER); None for nobody.

    That is an organisation that has the key of one or issued one, or a validator or identity whose
    key one certifies. Nobody is behind what cannot be read. None proves nothing: who runs an
    authority under a key and a name of its own is not to be seen from them.
    """
    for certificate in certificates:
        with suppress(CryptoError):
            read = AuthorityCertificate.read(certificate)
            for name in _kin(read, trust):
                return name
    return None


def _kin(certificate: AuthorityCertificate, trust: TrustAnchor) -> Iterator[str]:
    for organisation in trust.genesis.organisations:
        with suppress(CryptoError):
            authority = AuthorityCertificate.read(organisation.ca_certificate)
            if certificate.has_key_of(authority) or certificate.is_issued_by(authority):
                yield organisation.organisation_id
    keys = {each.public_key: each.identity_id for each in trust.genesis.identities}
    for members in trust.validator_sets:
        keys |= {each.vote_key: each.validator_id for each in members.validators}
    for key, name in keys.items():
        with suppress(CryptoError):
            if certificate.is_of(trust.suite.load_public_key(key)):
                yield name
