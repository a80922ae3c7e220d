"""Keys and certificates of clients: made and renewed in the folder of a network, or read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.chain.genesis import Identity, Role
from node.chain.identity import EnrolIdentity
from node.cli.network import open_secret
from node.cli.verb import CommandError
from node.client.chain import CERTIFICATE_FILE, KEY_FILE, TLS_KEY_FILE, read_file
from node.crypto.certificate import encode_der
from node.crypto.member_certificate import encode_authority_pem, read_identity
from node.errors import ConfigError, CryptoError
from node.operations.equipment import Outfitter
from node.operations.newcomer import ORGANISATIONS_FOLDER
from node.operations.provision import write_client_profile
from node.operations.topology import SECRET_FILE, Topology

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.crypto.suite import Suite

_NEXT: Final = "next"


def make_credentials(home: Path, name: str, role: Role, organisation: str) -> Path:
    """Make the keys and the certificate of a new client; return its folder.

    Raises `ConfigError` where the authority of its organisation is not kept in this folder.
    """
    folder = home / "clients" / name
    if folder.exists():  # made by a call that was cut short
        return folder
    outfitter = _outfitter(home)
    authority = outfitter.load_authority(home / ORGANISATIONS_FOLDER / organisation)
    outfitter.equip_client(folder, name, role, organisation, authority)
    write_client_profile(home, Topology.load(home), name)
    return folder


def renew_credentials(home: Path, identity: Identity) -> Path:
    """Make a new key for TLS and a certificate of it beside those in use; return their folder."""
    folder = home / "clients" / identity.identity_id
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no credentials of {identity.identity_id!r}",
            fix=_("have its certificate issued, and name it: --certificate"),
        )
    made = folder / _NEXT
    if not made.exists():
        outfitter = _outfitter(home)
        authority = outfitter.load_authority(home / ORGANISATIONS_FOLDER / identity.organisation)
        outfitter.renew_client(made, identity.identity_id, identity.role, authority)
    return made


def put_in_place(made: Path) -> None:
    """Have what `renew_credentials` made take the place of what was in use.

    The key first: a client that is started between the two says that they do not fit, and the next
    one is right.
    """
    for file in (TLS_KEY_FILE, CERTIFICATE_FILE):
        (made / file).replace(made.parent / file)
    made.rmdir()


def enrolment_of(
    network: Network, name: str, role: Role, organisation: str, folder: Path
) -> EnrolIdentity:
    """Return the operation that registers a client by what is in its folder."""
    from node.crypto.keystore import KeyPurpose, load_signer

    secret = open_secret(network.profile.key_file)
    key = load_signer(folder / KEY_FILE, secret, KeyPurpose.IDENTITY).public_key.encoded
    return _enrolment(name, role, organisation, read_certificate(folder / CERTIFICATE_FILE), key)


def enrolment_from_elsewhere(
    name: str, role: Role, organisation: str, certificate: Path, key: str
) -> EnrolIdentity:
    """Return the operation that registers somebody by a certificate and a key that were sent."""
    return _enrolment(name, role, organisation, read_certificate(certificate), read_key(key))


def _enrolment(
    name: str, role: Role, organisation: str, certificate: bytes, key: bytes
) -> EnrolIdentity:
    shown = read_identity(certificate)
    expected = (name, role.name.lower(), organisation)
    if (shown.identity_id, shown.role, shown.organisation) != expected:
        message = _("the certificate is of {role} {name} of {organisation}")
        cause = message.format(
            role=shown.role, name=shown.identity_id, organisation=shown.organisation
        )
        raise CommandError("GC-2303", cause, _("say so, or have the right one issued"))
    identity = Identity(
        identity_id=name,
        organisation=organisation,
        role=role,
        public_key=key,
        not_before_ms=shown.not_before_ms,
        not_after_ms=shown.not_after_ms,
    )
    return EnrolIdentity(identity, certificate)


def read_certificate(path: Path) -> bytes:
    """Return a member's certificate, DER; raises `CommandError` where a file holds none."""
    try:
        certificate = encode_der(read_file(path))
        read_identity(certificate)
    except CryptoError as error:
        raise CommandError("GC-2303", f"{path}: {error}") from error
    return certificate


def read_authorities(paths: Sequence[Path], suite: Suite) -> tuple[bytes, ...]:
    """Return certificates of authorities, DER, those that TLS takes first.

    Raises `CommandError` where a file holds none that a chain of `suite` takes, or where TLS could
    believe nobody of the organisation any more: it knows no SM2.
    """
    found = []
    for path in paths:
        try:
            found.append(encode_der(encode_authority_pem(read_file(path), suite)))
        except CryptoError as error:
            raise CommandError("GC-2303", f"{path}: {error}") from error
    usable = [each for each in found if _is_usable_by_tls(each)]
    if not usable:
        cause = _("all of these CAs have keys of SM2, and TLS knows no SM2")
        fix = _("name one of P-256, P-384 or RSA too, which certifies for TLS")
        raise CommandError("GC-2303", cause, fix)
    return (*usable, *(each for each in found if each not in usable))


def _is_usable_by_tls(authority: bytes) -> bool:
    try:
        encode_authority_pem(authority)
    except CryptoError:
        return False
    return True


def read_key(text: str) -> bytes:
    """Return a public key from hexadecimal; wrong usage where it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--key") from error


def _outfitter(home: Path) -> Outfitter:
    from node.crypto.keystore import KeyFileSecret
    from node.crypto.suite import suite_by_name

    topology = Topology.load(home)
    secret = KeyFileSecret.load(home / SECRET_FILE)
    now_ms = time.time_ns() // 1_000_000
    return Outfitter(suite_by_name(topology.suite), secret, now_ms)
