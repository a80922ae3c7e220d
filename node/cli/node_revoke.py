"""`govchain node revoke`: an organisation's authority takes a time-stamping certificate back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.outputs import OutputFile, write_anew
from node.cli.screen import Answer, Screen
from node.cli.token_options import FILE
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from cryptography.x509 import ReasonFlags

    from node.crypto.authority import AuthorityCertificate
    from node.crypto.certificate import Authority

REASONS: Final = ("key-compromise", "superseded", "cessation-of-operation")
_DAY_MS: Final = 86_400_000
_NEXT_DAYS: Final = 365


@click.command(
    "revoke",
    cls=Verb,
    help=_(
        "Write the revocation list of an organisation's authority: certificates for time-stamping "
        "that are not to be believed any more. Of a key that was merely retired, earlier tokens "
        "stay good; of a stolen one none does that carries no chain proof."
    ),
)
@click.option(
    "--authority",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help=_("Folder of the authority: ca.pem and ca.key."),
)
@click.option("--key-file", type=FILE, help=_("What opens its key.") + "  [secret.key]")
@click.option(
    "--certificate", "revoked_path", type=FILE, help=_("The certificate (PEM) to revoke.")
)
@click.option("--reason", type=click.Choice(REASONS), help=_("Why."))
@click.option("--previous", type=FILE, help=_("The list so far, which the new one goes on from."))
@click.option("--out", type=OutputFile(), required=True, help=_("File to write the list (PEM) to."))
@verb("node revoke")
def revoke(
    screen: Screen,
    *,
    authority: Path,
    key_file: Path | None,
    revoked_path: Path | None,
    reason: str | None,
    previous: Path | None,
    out: Path,
) -> Answer:
    """Write the revocation list of an organisation's authority."""
    from node.cli.revocation_lists import read_revocations
    from node.crypto.authority import AuthorityCertificate
    from node.crypto.revocation import RevokedSerial, build_revocation_list, encode_list_pem
    from node.errors import CryptoError

    if (revoked_path is None) != (reason is None):
        raise click.UsageError(_("give --certificate and --reason, or neither: the same list anew"))
    now_ms = time.time_ns() // 1_000_000
    issuer = _open(authority, key_file, now_ms)
    own = AuthorityCertificate.read(issuer.certificate)
    revoked: list[RevokedSerial] = []
    for earlier in read_revocations(() if previous is None else (previous,)):
        try:
            revoked += earlier.entries(own)
        except CryptoError as error:
            raise CommandError("GC-1001", f"{previous}: {error}") from error
    if revoked_path is not None and reason is not None:
        for each in _read(revoked_path, own):
            entry = RevokedSerial(each.serial_number, now_ms, _reason(reason))
            if not entry.is_milder_than(revoked):
                others = (old for old in revoked if old.serial_number != entry.serial_number)
                revoked = [*others, entry]
    made = build_revocation_list(
        issuer, revoked, made_ms=now_ms, next_ms=now_ms + _NEXT_DAYS * _DAY_MS
    )
    write_anew(out, encode_list_pem(made))
    said = _(
        "{path}: {count} certificates of {issuer} are revoked; publish it, keep it for the next"
    )
    screen.line(said.format(path=out, count=len(revoked), issuer=own.subject))
    serials = [f"{each.serial_number:x}" for each in revoked]
    return Answer({"list": str(out), "issuer": own.subject, "revoked": serials})


def _open(folder: Path, key_file: Path | None, now_ms: int) -> Authority:
    from node.cli.network import open_secret
    from node.crypto.suite import INTERNATIONAL
    from node.operations.equipment import Outfitter
    from node.operations.topology import SECRET_FILE

    own = folder / SECRET_FILE
    secret = open_secret(key_file or (own if own.exists() else None))
    return Outfitter(INTERNATIONAL, secret, now_ms).load_authority(folder)


def _read(path: Path, issuer: AuthorityCertificate) -> Sequence[AuthorityCertificate]:
    """Return the certificates in a file, which have to be by this authority, for time-stamping."""
    from node.cli.kinds import CERTIFICATE, read_kind
    from node.crypto.authority import read_timestamp_certificate
    from node.crypto.certificate import split_pem
    from node.errors import CryptoError

    data = read_kind(path, CERTIFICATE)
    try:
        found = [read_timestamp_certificate(each) for each in split_pem(data)]
    except CryptoError as error:
        raise CommandError("GC-1001", f"{path}: {error}") from error
    if not all(each.is_issued_by(issuer) for each in found):
        message = _("{path}: not issued by {issuer}").format(path=path, issuer=issuer.subject)
        raise CommandError("GC-1001", message, _("name the authority that issued it: --authority"))
    return found


def _reason(name: str) -> ReasonFlags:
    from cryptography.x509 import ReasonFlags

    return ReasonFlags[name.replace("-", "_")]
