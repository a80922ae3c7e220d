"""What is given beside a time-stamp token: the request that it answers, and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.verb import CommandError

if TYPE_CHECKING:
    from node.timestamp.tokens.request import TimeStampRequest

FILE: Final = click.Path(path_type=Path, dir_okay=False)

certificate_option = click.option(
    "--certificate",
    "certificate_paths",
    type=FILE,
    multiple=True,
    help=_("Certificate (PEM) of the key, for a token that holds none; a node serves its own.")
    + "  [GET /tsa/certificates]",
)

crl_option = click.option(
    "--crl",
    "crl_paths",
    type=FILE,
    multiple=True,
    help=_("Revocation list (PEM or DER) of an organisation's authority."),
)


def read_request(path: Path) -> TimeStampRequest:
    """Return the request (DER) in a file; raises `CommandError` for what is none."""
    from node.cli.kinds import REQUEST, read_kind
    from node.timestamp.tokens.request import TimeStampRefused, TimeStampRequest

    data = read_kind(path, REQUEST)
    try:
        return TimeStampRequest.decode(data)
    except TimeStampRefused as refused:
        fix = _("name a request made by openssl ts -query or the like")
        raise CommandError("GC-1001", f"{path}: {refused}", fix) from refused


def read_certificates(paths: Sequence[Path]) -> list[bytes]:
    """Return the certificates (PEM) in files of one or more; raises `CommandError`."""
    from node.cli.kinds import CERTIFICATE, read_kind
    from node.crypto.authority import AuthorityCertificate
    from node.crypto.certificate import split_pem
    from node.errors import CryptoError

    found: list[bytes] = []
    for path in paths:
        data = read_kind(path, CERTIFICATE)
        try:
            found += [AuthorityCertificate.read(each).encoded for each in split_pem(data)]
        except CryptoError as error:
            fix = _("name a certificate in PEM form")
            raise CommandError("GC-1001", f"{path}: {error}", fix) from error
    return found
