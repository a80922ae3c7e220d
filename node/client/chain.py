"""A chain as a client's profile tells of it, and who asks: keys opened, validators reached.

Nothing here asks a person: a key is opened by the profile's key file or by a secret that is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.config import ClientProfile, Endpoint
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    KeySecret,
    load_signer,
    takes_two_people,
)
from node.crypto.signature import Signer
from node.crypto.suite import Suite, suite_by_name
from node.disclosure.masking import DEFAULT_POLICY, MaskingPolicy
from node.errors import ClientError, ConfigError, DecodeError, ProofError
from node.rpc.certificate_watch import load_tls
from node.rpc.client import LedgerClient, LedgerEndpoint, NetworkUnavailable
from node.rpc.identity import TlsIdentity
from node.timestamp.history import HISTORY_HANDOVERS_MAX, Handover
from node.timestamp.steps import Judgement
from node.timestamp.trust import TrustAnchor, TrustFile, load_trust
from node.timestamp.verify import NamedDigest, ReceiptVerifier, Verdict

_Judged = TypeVar("_Judged", bound=Judgement[Any])

CERTIFICATE_FILE: Final = "client.pem"
KEY_FILE: Final = "client.key"
TLS_KEY_FILE: Final = "tls.key"
TRUST_FILE: Final = "trust.json"
MASKING_FILE: Final = "masking.toml"

WRONG_ANSWER: Final = "GC-2305"
"""The code of what a validator says and does not prove."""


@dataclass
class _Followed:
    """How far the validator sets were followed, each step checked."""

    anchor: TrustAnchor | None = None
    """None as long as that was not needed."""
    verifier: ReceiptVerifier | None = None
    """By the part that leads to `verified_epoch`: receipts are asked for block by block."""
    verified_epoch: int = 0


@dataclass(frozen=True)
class Chain:
    """A chain as its profile tells, and who asks."""

    profile: ClientProfile
    identity: str
    guests: tuple[LedgerEndpoint, ...] = ()
    """Nodes that the profile does not name, asked after those that it does."""
    secret: KeySecret | None = field(default=None, repr=False, kw_only=True)
    """Opens the keys; None means the key file that the profile names."""

    @classmethod
    def load(
        cls, profile: Path, identity: str | None = None, secret: KeySecret | None = None
    ) -> Self:
        """Return the chain of a profile, asked as its identity or as another that it may hold.

        Raises `ConfigError` for a profile that cannot be used.
        """
        found = ClientProfile.load(profile)
        return cls(found, identity or found.identity, secret=secret)

    @property
    def suite(self) -> Suite:
        """Return the chain's suite."""
        return suite_by_name(self.profile.suite)

    @cached_property
    def genesis(self) -> Genesis:
        """Return the chain's genesis, which must be the one whose hash is the chain id."""
        path = self.profile.genesis
        genesis = self._read_genesis(path)
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
        """Return what verifies receipts by that: those that bring all handovers along."""
        return ReceiptVerifier(self.anchor)

    @cached_property
    def _followed(self) -> _Followed:
        return _Followed()

    @property
    def known(self) -> TrustAnchor:
        """Return the sets that are known by now, pinned or followed from there; nobody is asked."""
        return self._followed.anchor or self.pinned

    @property
    def needed(self) -> TrustAnchor:
        """Return what it took to verify receipts so far: the genesis alone, or `known`."""
        return self._followed.anchor or self.anchor

    @property
    def trust_path(self) -> Path:
        """Return where the trust file of this chain is kept: beside the profile."""
        return self.profile.home / TRUST_FILE

    @cached_property
    def pinned(self) -> TrustAnchor:
        """Return what that file pins: the genesis alone, where it is none of this chain."""
        if not os.path.lexists(self.trust_path):
            return self.anchor
        anchor = self._read_trust(self.trust_path)
        return anchor if anchor.chain_id == self.profile.chain_id else self.anchor

    @cached_property
    def masking(self) -> MaskingPolicy:
        """Return what displays of this chain show, by the file beside the profile if there is one.

        Of the command line and of the gateway alike. Raises `ConfigError` for a file that is none.
        """
        path = self.profile.home / MASKING_FILE
        if not os.path.lexists(path):
            return DEFAULT_POLICY
        try:
            return MaskingPolicy.read(read_file(path))
        except DecodeError as error:
            raise ConfigError(f"{path}: {error}", fix="correct the policy, or remove it") from error

    async def lead_on(self, client: LedgerClient) -> TrustAnchor:
        """Go on from what is known as far as a validator leads, each step checked.

        Raises `ClientError` GC-2305 for a handover that does not hold.
        """
        known = self.known
        found: list[Handover] = []
        try:
            async with aclosing(client.handovers(known.epoch)) as handovers:
                async for encoded in handovers:
                    found.append(Handover.decode(encoded, self.suite))
                    if known.epoch + len(found) >= HISTORY_HANDOVERS_MAX:
                        break
            if found:
                self._followed.anchor = known = known.extend(found)
        except (DecodeError, ProofError) as error:
            raise ClientError(str(error), code=WRONG_ANSWER) from error
        return known

    async def judge(
        self, client: LedgerClient, anchor: TrustAnchor, verify: Callable[[TrustAnchor], _Judged]
    ) -> _Judged:
        """Return a verdict by an anchor, or by what leads on from it to the proof's epoch.

        Proofs carry the newest handovers alone: the others are asked for where they are needed.
        Raises `ClientError` GC-2305 for a handover that does not hold, or not by the anchor.
        """
        verdict = verify(anchor)
        epoch = verdict.unreached_epoch
        if epoch is None:
            return verdict
        known = await self._reach(client, epoch)
        if anchor is not self.anchor and anchor is not self.pinned:
            try:
                known = anchor.extend(known.handovers[anchor.epoch :])
            except ProofError as error:
                raise ClientError(str(error), code=WRONG_ANSWER) from error
        return verify(known.up_to(epoch))

    async def verify(self, client: LedgerClient, receipt: bytes, document: NamedDigest) -> Verdict:
        """Return the verdict on a receipt of any epoch, by the genesis and what leads on from it.

        As `judge` does; what receipts share is checked once.
        """
        verdict = self.verifier.verify(receipt, document)
        epoch = verdict.unreached_epoch
        if epoch is None:
            return verdict
        known, followed = await self._reach(client, epoch), self._followed
        if followed.verifier is None or followed.verified_epoch != epoch:
            followed.verifier = ReceiptVerifier(known.up_to(epoch))
            followed.verified_epoch = epoch
        return followed.verifier.verify(receipt, document)

    async def _reach(self, client: LedgerClient, epoch: int) -> TrustAnchor:
        return self.known if epoch <= self.known.epoch else await self.lead_on(client)

    async def deciding(self, client: LedgerClient) -> ValidatorSet:
        """Return who decides now, as far as a validator leads; what is pinned if none does."""
        try:
            return (await self.lead_on(client)).validator_sets[-1]
        except NetworkUnavailable:
            return self.pinned.validator_sets[-1]

    @cached_property
    def signer(self) -> Signer:
        """Return what signs the identity's transactions."""
        path = self.credentials / KEY_FILE
        secret = self._find_two_people() if takes_two_people(path) else self._opened
        return load_signer(path, secret, KeyPurpose.IDENTITY)

    def unlock(self) -> None:
        """Open the keys now, so that who is to be asked for them is asked before long work."""
        self.signer.public_key  # noqa: B018 - opened once, and kept

    def client(self, only: str | None = None) -> LedgerClient:
        """Return a client; use it as a context manager on a running event loop.

        Of all nodes known, or of the one named alone.
        """
        endpoints = [_reach(endpoint) for endpoint in self.profile.endpoints]
        known = [each.validator_id for each in endpoints]
        endpoints += [each for each in self.guests if each.validator_id not in known]
        endpoints = [each for each in endpoints if only in (None, each.validator_id)]
        return LedgerClient(
            endpoints,
            tls=self.load_tls(),
            roots_pem=read_file(self.profile.ca_bundle),
            chain_id=self.profile.chain_id,
        )

    @property
    def tls_files(self) -> tuple[Path, Path]:
        """Return where the key and the certificate of its connections are."""
        return self.credentials / TLS_KEY_FILE, self.credentials / CERTIFICATE_FILE

    def load_tls(self) -> TlsIdentity:
        """Return what its connections show, as the files have it now; raises `NodeError`."""
        key, certificate = self.tls_files
        return load_tls(certificate, key, self._opened)

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
    def _opened(self) -> KeySecret:
        return self._find_secret() if self.secret is None else self.secret

    def _find_secret(self) -> KeySecret:
        if self.profile.key_file is None:
            raise ConfigError(
                "the profile names no key_file, and no secret was given",
                code="GC-2311",
                fix="name the file in the profile, or give a secret",
            )
        return KeyFileSecret.load(self.profile.key_file)

    def _find_two_people(self) -> KeySecret:
        if self.secret is None:
            raise ConfigError(
                "this key takes two people, and no secret was given",
                code="GC-2311",
                fix="give the passphrases of both: TwoPeopleSecret",
            )
        return self.secret

    def _read_genesis(self, path: Path) -> Genesis:
        return Genesis.decode(read_file(path))

    def _read_trust(self, path: Path) -> TrustAnchor:
        return load_trust(read_file(path))


def _reach(endpoint: Endpoint) -> LedgerEndpoint:
    authority = b"" if endpoint.authority is None else read_file(endpoint.authority)
    return LedgerEndpoint(endpoint.validator_id, str(endpoint.address), authority)


def read_file(path: Path) -> bytes:
    """Read a file that a home or profile names; raises `ConfigError` where it is not readable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", fix="restore the file") from error
