"""Lists of revoked certificates that a verb is given: read, and told of where they say nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from gettext import gettext as _
from pathlib import Path
from typing import Any

from node.cli.kinds import REVOCATIONS, read_kind
from node.cli.screen import Screen
from node.cli.verb import CommandError
from node.crypto.authority import AuthorityCertificate
from node.crypto.revocation import RevocationList
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.tokens.reading import ReadToken


def read_revocations(paths: Sequence[Path]) -> list[RevocationList]:
    """Return the revocation lists in files of one each; raises `CommandError`."""
    found = []
    for path in paths:
        data = read_kind(path, REVOCATIONS)
        try:
            found.append(RevocationList.read(data))
        except CryptoError as error:
            fix = _("name a revocation list as its authority published it")
            raise CommandError("GC-1001", f"{path}: {error}", fix) from error
    return found


def tell_lists(
    screen: Screen,
    paths: Sequence[Path],
    lists: Sequence[RevocationList],
    tokens: Collection[bytes],
    beside: Collection[bytes] = (),
) -> dict[str, Any]:
    """Warn of lists by nobody who issued a certificate in question; return JSON members.

    In question are the certificates in time-stamp tokens, and those that are given `beside` them:
    none where there is no token.
    """
    issuers = {each.issuer_name for each in _certificates(tokens, beside)}
    told = [
        {"path": str(path), "issuer": each.issuer, "concerns": each.issuer_name in issuers}
        for path, each in zip(paths, lists, strict=True)
    ]
    said = _("{path} says nothing of this: it is by {issuer}, who issued no certificate here")
    for each in told:
        if not each["concerns"]:
            screen.line("  " + said.format(**each), style="yellow")
    return {"revocation_lists": told} if told else {}


def _certificates(
    tokens: Collection[bytes], beside: Collection[bytes]
) -> Iterator[AuthorityCertificate]:
    """Yield the certificates that can be read: what cannot be is for the verdict to say."""
    held = list(beside) if tokens else []
    for token in tokens:
        try:
            held += ReadToken.decode(token).certificates
        except (CryptoError, DecodeError, ProofError):
            continue
    for certificate in held:
        try:
            yield AuthorityCertificate.read(certificate)
        except CryptoError:
            continue
