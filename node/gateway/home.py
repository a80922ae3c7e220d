"""A gateway's folder: who it is, whom it lets in, where it listens.

`gateway.toml` says what an operator chose; `ca.pem` and `ca.key` are the gateway's own authority,
which certifies its server (`tls.pem`) and applications; `secret.key` opens these keys. The chain it
speaks to is that of a client profile, whose identity the gateway acts as, and no other. Its suite
encrypts the key files; the keys themselves (TLS, webhooks) are international under every suite,
since the protocols that they are for know no others.
"""

from __future__ import annotations

import os
import shutil
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from node.config import Address, ClientProfile
from node.crypto.application_key import ECDSA_P256, ApplicationKey, encode_public_pem
from node.crypto.certificate import (
    LOOPBACK_HOSTS,
    Authority,
    Issuance,
    Member,
    build_authority_certificate,
    build_identity_certificate,
    build_node_certificate,
    encode_pem,
)
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    KeySecret,
    generate_key,
    load_signer,
    new_serial_number,
    save_key,
)
from node.crypto.signature import Signer
from node.crypto.suite import INTERNATIONAL, Suite, suite_by_name
from node.errors import ConfigError
from node.gateway.applications import Application, write_applications
from node.gateway.door import ROLE
from node.operations.provision import render_toml
from node.operations.topology import is_vacant, write_file
from node.rpc.certificate_watch import load_tls
from node.rpc.identity import TlsIdentity

SETTINGS_FILE: Final = "gateway.toml"
SECRET_FILE: Final = "secret.key"  # noqa: S105 - a file name
AUTHORITY_FILE: Final = "ca.pem"
AUTHORITY_KEY_FILE: Final = "ca.key"
TLS_FILE: Final = "tls.pem"
TLS_KEY_FILE: Final = "tls.key"
WEBHOOK_KEY_FILE: Final = "webhook.key"
SECURITY_FOLDER: Final = "security"
CERTIFICATES_FOLDER: Final = "applications"
DEFAULT_LISTEN: Final = "127.0.0.1:8443"
LOG_MINUTES_DEFAULT: Final = 60

_NAME: Final = "gateway"
_RENEWAL: Final = ".renewal"
_DAY_MS: Final = 86_400_000
_AUTHORITY_DAYS: Final = 3_650
_MEMBER_DAYS: Final = 730
_SLACK_MS: Final = 300_000
_LOG_MINUTES_MAX: Final = 10_080


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `gateway.toml` says."""

    version: int
    profile: str
    """Path of the client profile, relative to the folder."""
    key_file: str = SECRET_FILE
    """What opens the keys, likewise; better kept apart from them."""
    listen: str = DEFAULT_LISTEN
    names: tuple[str, ...] = ()
    """`host:port` by which applications reach it; what it listens on is one anyway."""
    tls: bool = True
    """Clear text is taken on loopback alone, for a proxy on the same machine."""
    log_minutes: int = LOG_MINUTES_DEFAULT
    """How often the head of the security log is recorded on the chain; 0 for never."""


class ServerTls:
    """How connections are taken: TLS 1.3, a certificate of an application if one is shown."""

    def __init__(self, authority: bytes, identity: TlsIdentity) -> None:
        """Believe `authority` of applications."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_OPTIONAL  # else by signature
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=authority.decode())
        self.context = context
        self.renew(identity)

    def now(self) -> TlsIdentity:
        """Return what it shows on the next connection."""
        return self._identity

    def renew(self, identity: TlsIdentity) -> None:
        """Show this from the next connection on; those that are open go on."""
        _load_chain(self.context, identity.certificate_pem, identity.private_key_pem)
        self._identity = identity


@dataclass(frozen=True, slots=True)
class GatewayHome:
    """The folder of a gateway, opened."""

    folder: Path
    settings: Settings
    address: Address
    secret: KeySecret

    @classmethod
    def load(cls, folder: Path) -> GatewayHome:
        """Open a gateway's folder; raises `ConfigError` naming file and field."""
        path = folder / SETTINGS_FILE
        try:
            settings = msgspec.toml.decode(path.read_bytes(), type=Settings)
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror}", fix="make a gateway: govchain gateway init"
            ) from error
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigError(f"{path}: {error}", fix=f"correct {path}") from error
        if settings.version != 1:
            raise ConfigError(f"{path}: version: expected 1, got {settings.version}")
        if not 0 <= settings.log_minutes <= _LOG_MINUTES_MAX:
            raise ConfigError(f"{path}: log_minutes: expected 0..{_LOG_MINUTES_MAX}")
        address = Address.parse(settings.listen)
        if not settings.tls and not _is_loopback(address.host):
            raise ConfigError(
                f"{path}: tls: off, and {settings.listen} is not loopback",
                fix="switch tls on, or listen on 127.0.0.1 behind a proxy of this machine",
            )
        return cls(folder, settings, address, KeyFileSecret.load(folder / settings.key_file))

    @property
    def profile(self) -> Path:
        """Where the client profile is."""
        return self.folder / self.settings.profile

    @property
    def security_folder(self) -> Path:
        """Where the security log is."""
        return self.folder / SECURITY_FOLDER

    @property
    def authority(self) -> bytes:
        """The certificate of the gateway's authority."""
        return (self.folder / AUTHORITY_FILE).read_bytes()

    def names(self, port: int) -> tuple[str, ...]:
        """Return the names a request may give in Host, where it listens on this port."""
        host = self.address.host
        own = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        local = (f"localhost:{port}",) if _is_loopback(host) else ()
        return (own, *local, *self.settings.names)

    def webhook_signer(self) -> Signer:
        """Return what signs webhooks."""
        return load_signer(self.folder / WEBHOOK_KEY_FILE, self.secret, KeyPurpose.WEBHOOK)

    def webhook_public_pem(self) -> bytes:
        """Return the key that receivers of webhooks check them by, PEM."""
        return encode_public_pem(self.webhook_signer())

    @property
    def tls_files(self) -> tuple[Path, Path]:
        """Where the key and the certificate of the server are."""
        return self.folder / TLS_KEY_FILE, self.folder / TLS_FILE

    def load_tls(self) -> TlsIdentity:
        """Return what the server shows, as the files have it now; raises `NodeError`."""
        key, certificate = self.tls_files
        return load_tls(certificate, key, self.secret)

    def server_tls(self) -> ServerTls | None:
        """Return how connections are taken; None for clear text."""
        return ServerTls(self.authority, self.load_tls()) if self.settings.tls else None

    def renew_server(self, now_ms: int) -> int:
        """Make a new key for TLS and a certificate of it; return when that ends (UTC, ms).

        All of it is made beside what is in use; then the key is put in place, the certificate last:
        a gateway that runs takes both up, and until then goes on with what it has.
        """
        suite = suite_by_name(ClientProfile.load(self.profile).suite)
        made = self.folder / _RENEWAL
        if made.exists():  # left by a call that was cut short: nothing depends on it
            shutil.rmtree(made)
        made.mkdir(mode=0o700)
        issuance = _issuance(now_ms, _MEMBER_DAYS)
        _make_server(
            made, self._authority(), self.settings, issuance, secret=self.secret, suite=suite
        )
        for path in self.tls_files:
            (made / path.name).replace(path)
        made.rmdir()
        return issuance.not_after_ms

    def renew_applications(
        self, applications: Sequence[Application], now_ms: int
    ) -> list[tuple[Application, ApplicationKey, Path]]:
        """Make another certificate of each key that TLS takes; earlier ones stay good."""
        made = []
        for application in applications:
            for pem in application.keys:
                key = ApplicationKey.read(pem.encode())
                path = self.certify(application.name, key, now_ms)
                if path is not None:
                    made.append((application, key, path))
        return made

    def _authority(self) -> Authority:
        path = self.folder / AUTHORITY_KEY_FILE
        return Authority(self.authority, load_signer(path, self.secret, KeyPurpose.AUTHORITY))

    def certify(self, name: str, key: ApplicationKey, now_ms: int) -> Path | None:
        """Make the certificate of an application's key; None where TLS takes no such key."""
        if key.algorithm != ECDSA_P256:
            return None
        member = Member(identity_id=name, role=ROLE, public_key=key.public_key.encoded)
        issuance = _issuance(now_ms, _MEMBER_DAYS)
        made = build_identity_certificate(self._authority(), member, issuance)
        path = self.folder / CERTIFICATES_FOLDER / f"{name}-{key.key_id[:8]}.pem"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_file(path, encode_pem(made))
        return path


def make_gateway(folder: Path, profile: Path, settings: Settings) -> GatewayHome:
    """Make the folder of a gateway: fresh keys, no application, nothing anybody could guess.

    Raises `ConfigError` where something is there, or `profile` is none.
    """
    suite = suite_by_name(ClientProfile.load(profile).suite)
    if not is_vacant(folder):
        raise ConfigError(
            f"{folder}: exists and is not empty", code="GC-2706", fix="name another folder"
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = KeyFileSecret.generate(folder / SECRET_FILE)
        now_ms = time.time_ns() // 1_000_000
        signer = generate_key(KeyPurpose.AUTHORITY, INTERNATIONAL)
        authority = build_authority_certificate(signer, _NAME, _issuance(now_ms, _AUTHORITY_DAYS))
        write_file(folder / AUTHORITY_FILE, encode_pem(authority))
        save_key(folder / AUTHORITY_KEY_FILE, signer, secret, KeyPurpose.AUTHORITY, suite)
        issuance = _issuance(now_ms, _MEMBER_DAYS)
        _make_server(
            folder, Authority(authority, signer), settings, issuance, secret=secret, suite=suite
        )
        webhook = generate_key(KeyPurpose.WEBHOOK, INTERNATIONAL)
        save_key(folder / WEBHOOK_KEY_FILE, webhook, secret, KeyPurpose.WEBHOOK, suite)
        write_applications(folder, ())
        relative = os.path.relpath(profile.resolve(), folder.resolve())
        # Last: a folder with it is whole.
        write_settings(folder, msgspec.structs.replace(settings, profile=relative))
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", code="GC-2706") from error
    return GatewayHome.load(folder)


def write_settings(folder: Path, settings: Settings) -> None:
    """Write `gateway.toml`."""
    table = msgspec.to_builtins(settings)
    names = table.pop("names")
    text = render_toml(table) + (f"names = {msgspec.json.encode(names).decode()}\n").encode()
    write_file(folder / SETTINGS_FILE, text)


def _make_server(
    folder: Path,
    authority: Authority,
    settings: Settings,
    issuance: Issuance,
    *,
    secret: KeySecret,
    suite: Suite,
) -> None:
    """Make the key and the certificate of the server, for all names that the settings tell."""
    tls = generate_key(KeyPurpose.TLS, INTERNATIONAL)
    member = Member(identity_id=_NAME, role=_NAME, public_key=tls.public_key.encoded)
    told = [Address.parse(each).host for each in (settings.listen, *settings.names)]
    hosts = list(dict.fromkeys([*LOOPBACK_HOSTS, *told]))
    certificate = build_node_certificate(authority, member, issuance, hosts=hosts)
    save_key(folder / TLS_KEY_FILE, tls, secret, KeyPurpose.TLS, suite)
    write_file(folder / TLS_FILE, encode_pem(certificate))


def _issuance(now_ms: int, days: int) -> Issuance:
    return Issuance(
        serial_number=new_serial_number(),
        not_before_ms=now_ms - _SLACK_MS,
        not_after_ms=now_ms + days * _DAY_MS,
    )


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give a context its certificate and key, by a file that is only in memory."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
