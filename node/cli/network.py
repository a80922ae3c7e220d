"""How a verb reaches a chain: which profile, as whom, opened with which secret."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from gettext import gettext as _
from pathlib import Path
from typing import Any, TypeVar

import click

from node.chain.block import CERTIFIED_HEADER_BYTES_MAX, CertifiedHeader, Header
from node.chain.certificate import QuorumCertificate
from node.chain.encoding import decode
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.cli.verb import DEFAULT_HOME, CommandError
from node.client.chain import Chain, read_file
from node.config import PROFILE_FILE
from node.crypto.keystore import KeyFileSecret, KeySecret
from node.crypto.suite import Suite
from node.errors import DecodeError
from node.rpc.client import LedgerClient, NetworkUnavailable
from node.rpc.port import CertifiedHeader as EncodedHeader
from node.timestamp.steps import Judgement
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, Verdict

_Judged = TypeVar("_Judged", bound=Judgement[Any])
_T = TypeVar("_T")


@dataclass(frozen=True)
class Network(Chain):
    """A chain as the options name it: a person may be asked for a passphrase."""

    @classmethod
    def open(cls, home: Path | None, profile: Path | None, identity: str | None) -> Network:
        """Find the network that the options name; raises `ConfigError` where there is none."""
        if home is not None and profile is not None:
            raise click.UsageError(_("give --home or --profile, not both"))
        return cls.load(profile or (home or Path(DEFAULT_HOME)) / PROFILE_FILE, identity)

    def follow(self, epoch: int) -> TrustAnchor:
        """Return the validator sets up to an epoch at least, followed from what is pinned.

        Where that does not lead so far, the validators are asked. Raises `ClientError` blaming who
        answers for a handover that does not hold, `CommandError` where none leads to `epoch`.
        """
        anchor = self.known if epoch <= self.known.epoch else self.ask(self.lead_on)
        if epoch > anchor.epoch:
            cause = _("nothing leads from epoch {known} to epoch {epoch}")
            raise CommandError("GC-2305", cause.format(known=anchor.epoch, epoch=epoch))
        return anchor

    def judge_by(self, anchor: TrustAnchor, verify: Callable[[TrustAnchor], _Judged]) -> _Judged:
        """Return a verdict as `judge` does; nobody is asked unless that is needed."""
        verdict = verify(anchor)
        if verdict.unreached_epoch is None:
            return verdict
        return self.ask(lambda client: self.judge(client, anchor, verify))

    def verify_receipt(self, receipt: bytes, document: NamedDigest) -> Verdict:
        """Return the verdict on a receipt as `verify` does; nobody is asked unless needed."""
        verdict = self.verifier.verify(receipt, document)
        if verdict.unreached_epoch is None:
            return verdict
        return self.ask(lambda client: self.verify(client, receipt, document))

    @cached_property
    def validators(self) -> ValidatorSet:
        """Return who decides now, as far as a validator leads; what is pinned if none does."""
        try:
            return self.ask(self.lead_on).validator_sets[-1]
        except NetworkUnavailable:
            return self.pinned.validator_sets[-1]

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

    def _find_secret(self) -> KeySecret:
        return open_secret(self.profile.key_file)

    def _find_two_people(self) -> KeySecret:
        from node.cli.passphrases import ask_two_people

        return ask_two_people()

    def _read_genesis(self, path: Path) -> Genesis:
        return read_genesis(path)

    def _read_trust(self, path: Path) -> TrustAnchor:
        from node.cli.trust_file import load_anchor

        return load_anchor(path)


def open_secret(key_file: Path | None) -> KeySecret:
    """Return what opens keys: the key file, else a passphrase from the environment or a person."""
    if key_file is not None:
        return KeyFileSecret.load(key_file)
    from node.cli.passphrases import ask_passphrase

    return ask_passphrase()


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
