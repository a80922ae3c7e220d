"""How a verb reaches a chain: which profile, as whom, opened with which secret."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from gettext import gettext as _
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from node.chain.block import CERTIFIED_HEADER_BYTES_MAX, CertifiedHeader, Header
from node.chain.certificate import QuorumCertificate
from node.chain.encoding import decode
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.cli.verb import DEFAULT_HOME, CommandError
from node.config import PROFILE_FILE, ClientProfile, Endpoint
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    KeySecret,
    PassphraseSecret,
    load_signer,
    load_tls_key_pem,
)
from node.crypto.signature import Signer
from node.crypto.suite import Suite, suite_by_name
from node.errors import ConfigError, DecodeError, ProofError
from node.rpc.client import LedgerClient, LedgerEndpoint, NetworkUnavailable
from node.rpc.identity import TlsIdentity
from node.rpc.port import CertifiedHeader as EncodedHeader
from node.timestamp.history import HANDOVERS_MAX, Handover
from node.timestamp.trust import TrustAnchor, TrustFile
from node.timestamp.verify import ReceiptVerifier

TRUST_FILE: Final = "trust.json"
PASSPHRASE_VARIABLE: Final = "GOVCHAIN_PASSPHRASE"  # noqa: S105 - the name of a variable

_T = TypeVar("_T")


@dataclass(frozen=True)
class Network:
    """A chain as its profile tells, and who asks."""

    profile: ClientProfile
    identity: str
    guests: tuple[LedgerEndpoint, ...] = ()
    """Nodes that the profile does not name, asked after those that it does."""

    @classmethod
    def open(cls, home: Path | None, profile: Path | None, identity: str | None) -> Network:
        """Find the network that the options name; raises `ConfigError` where there is none."""
        if home is not None and profile is not None:
            raise click.UsageError(_("give --home or --profile, not both"))
        found = ClientProfile.load(profile or (home or Path(DEFAULT_HOME)) / PROFILE_FILE)
        return cls(found, identity or found.identity)

    @property
    def suite(self) -> Suite:
        """Return the chain's suite."""
        return suite_by_name(self.profile.suite)

    @cached_property
    def genesis(self) -> Genesis:
        """Return the chain's genesis, which must be the one whose hash is the chain id."""
        path = self.profile.genesis
        genesis = read_genesis(path)
        if genesis.chain_id != self.profile.chain_id:
            raise ConfigError(
                f"{path}: expected the genesis of chain {self.profile.chain_id.hex()}, "
                f"got that of {genesis.chain_id.hex()}",
                fix="use the genesis of the chain that the profile names",
            )
        return genesis

    @cached_property
    def anchor(self) -> TrustAnchor:
        """Return what the genesis alone lets us verify."""
        return TrustFile(chain_id=self.profile.chain_id, genesis=self.genesis).establish()

    @cached_property
    def verifier(self) -> ReceiptVerifier:
        """Return what verifies receipts by that."""
        return ReceiptVerifier(self.anchor)

    @property
    def trust_path(self) -> Path:
        """Return where the trust file of this network is kept: beside the profile."""
        return self.profile.home / TRUST_FILE

    @cached_property
    def pinned(self) -> TrustAnchor:
        """Return what that file pins: the genesis alone, where it is none of this chain."""
        from node.cli.verify import load_anchor

        if not os.path.lexists(self.trust_path):
            return self.anchor
        anchor = load_anchor(self.trust_path)
        return anchor if anchor.chain_id == self.profile.chain_id else self.anchor

    def follow(self, epoch: int) -> TrustAnchor:
        """Return the validator sets up to an epoch at least, followed from what is pinned.

        Where that does not lead so far, the validators are asked. Raises `CommandError` blaming who
        answers for a handover that does not hold, and where none leads to `epoch`.
        """
        anchor = self.pinned if epoch <= self.pinned.epoch else self._followed
        if epoch > anchor.epoch:
            cause = _("nothing leads from epoch {known} to epoch {epoch}")
            raise CommandError("GC-2305", cause.format(known=anchor.epoch, epoch=epoch))
        return anchor

    @cached_property
    def _followed(self) -> TrustAnchor:
        """Go on from what is pinned as far as a validator leads, each step checked."""
        pinned = self.pinned
        encoded = self.ask(lambda client: _handovers(client, pinned.epoch))
        handovers = [
            decode_answer(lambda data: Handover.decode(data, self.suite), each) for each in encoded
        ]
        try:
            return pinned.extend(handovers)
        except ProofError as error:
            raise CommandError("GC-2305", str(error)) from error

    @cached_property
    def validators(self) -> ValidatorSet:
        """Return who decides now, as far as a validator leads; what is pinned if none does."""
        try:
            return self._followed.validator_sets[-1]
        except NetworkUnavailable:
            return self.pinned.validator_sets[-1]

    @cached_property
    def signer(self) -> Signer:
        """Return what signs the identity's transactions."""
        return load_signer(self.credentials / "client.key", self._secret, KeyPurpose.IDENTITY)

    def client(self, only: str | None = None) -> LedgerClient:
        """Return a client; use it as a context manager on a running event loop.

        Of all nodes known, or of the one named alone.
        """
        endpoints = [_reach(endpoint) for endpoint in self.profile.endpoints]
        known = [each.validator_id for each in endpoints]
        endpoints += [each for each in self.guests if each.validator_id not in known]
        endpoints = [each for each in endpoints if only in (None, each.validator_id)]
        certificate = read_file(self.credentials / "client.pem")
        key = load_tls_key_pem(self.credentials / "tls.key", self._secret)
        return LedgerClient(
            endpoints,
            tls=TlsIdentity(certificate, key),
            roots_pem=read_file(self.profile.ca_bundle),
            chain_id=self.profile.chain_id,
        )

    def ask(
        self,
        question: Callable[[LedgerClient], Coroutine[Any, Any, _T]],
        only: str | None = None,
    ) -> _T:
        """Ask one thing, of whoever answers or of one node alone, and return the answer."""

        async def run() -> _T:
            async with self.client(only) as client:
                return await question(client)

        return asyncio.run(run())

    @property
    def credentials(self) -> Path:
        """Return the folder of who asks; raises `ConfigError` where there is none."""
        folder = self.profile.credentials_of(self.identity)
        if not (folder.is_dir() and self.profile.may_hold(self.identity)):
            raise ConfigError(
                f"{folder}: no credentials of {self.identity!r}",
                fix="name an identity that has some with --as",
            )
        return folder

    @cached_property
    def _secret(self) -> KeySecret:
        return open_secret(self.profile.key_file)


def _reach(endpoint: Endpoint) -> LedgerEndpoint:
    authority = b"" if endpoint.authority is None else read_file(endpoint.authority)
    return LedgerEndpoint(endpoint.validator_id, str(endpoint.address), authority)


async def _handovers(client: LedgerClient, epoch: int) -> list[bytes]:
    """Return the handovers from one epoch on, no more than a trust file may hold."""
    found: list[bytes] = []
    async with aclosing(client.handovers(epoch)) as handovers:
        async for handover in handovers:
            found.append(handover)
            if epoch + len(found) >= HANDOVERS_MAX:
                break
    return found


def open_secret(key_file: Path | None) -> KeySecret:
    """Return what opens keys: the key file, else a passphrase from the environment or a person."""
    if key_file is not None:
        return KeyFileSecret.load(key_file)
    if passphrase := os.environ.get(PASSPHRASE_VARIABLE):
        return PassphraseSecret(passphrase)
    if not sys.stdin.isatty():
        raise CommandError("GC-2311", _("no key_file, no {name}").format(name=PASSPHRASE_VARIABLE))
    return PassphraseSecret(click.prompt(_("Passphrase"), hide_input=True, err=True))


def decode_answer(read: Callable[[bytes], _T], data: bytes) -> _T:
    """Read what a validator sent; raises `CommandError` blaming it where it is malformed."""
    try:
        return read(data)
    except DecodeError as error:
        raise CommandError("GC-2305", str(error)) from error


def decode_certified(sent: EncodedHeader, suite: Suite) -> CertifiedHeader:
    """Read a certified header that a validator sent; raises `CommandError` blaming it."""

    def read_certificate(data: bytes) -> QuorumCertificate:
        value = decode(data, what="certificate", size_max=CERTIFIED_HEADER_BYTES_MAX)
        return QuorumCertificate.from_value(value, suite.signature_size)

    return CertifiedHeader(
        decode_answer(Header.decode, sent.header),
        decode_answer(read_certificate, sent.certificate),
    )


def read_genesis(path: Path) -> Genesis:
    """Read a genesis file."""
    from node.cli.kinds import GENESIS, expect_kind

    data = read_file(path)
    expect_kind(path, data, GENESIS)
    return Genesis.decode(data)


def read_file(path: Path) -> bytes:
    """Read a file that a home or profile names; raises `ConfigError` where it is not readable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", fix="restore the file") from error
