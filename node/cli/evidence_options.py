"""What verbs of evidence have in common: whom to believe, whom to ask, which files are meant."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.token_options import FILE, read_certificates
from node.cli.verb import CommandError

if TYPE_CHECKING:
    from node.cli.screen import Screen
    from node.crypto.revocation import RevocationList
    from node.timestamp.evidence.renewal import Plan
    from node.timestamp.evidence.verify import EvidenceTrust
    from node.timestamp.tokens.request import TimeStampRequest
    from node.timestamp.trust import TrustAnchor

_FOLDER = click.Path(path_type=Path, file_okay=False)


def folder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where receipts and records lie; give `folders`."""

    @click.option(
        "--receipts", type=_FOLDER, help=_("Folder of the receipts. Default: beside the files.")
    )
    @click.option(
        "--records", type=_FOLDER, help=_("Folder of the records. Default: beside the files.")
    )
    @functools.wraps(function)
    def run(*, receipts: Path | None, records: Path | None, **arguments: Any) -> Any:  # noqa: ANN401
        from node.cli.evidence_files import Folders

        return function(folders=Folders(receipts, records), **arguments)

    return run


def belief_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say whom and what to believe; give `beliefs`."""

    @click.option(
        "--trust",
        "trust_path",
        type=FILE,
        help=_(
            "Trust file: its organisations' authorities are believed, with a receipt of the chain."
        ),
    )
    @click.option(
        "--ca",
        "root_paths",
        type=FILE,
        multiple=True,
        help=_("Certificates (PEM) of authorities to believe, also of those that have expired."),
    )
    @click.option(
        "--crl",
        "list_paths",
        type=FILE,
        multiple=True,
        help=_("List of revoked certificates (PEM or DER)."),
    )
    @click.option(
        "--weak",
        "weak",
        multiple=True,
        metavar="NAME@DATE",
        help=_("Take an algorithm for weak from a date on: sha-256@2040-01-01."),
    )
    @functools.wraps(function)
    def run(
        *,
        trust_path: Path | None,
        root_paths: Sequence[Path],
        list_paths: Sequence[Path],
        weak: Sequence[str],
        **arguments: Any,  # noqa: ANN401 - as click gives them
    ) -> Any:  # noqa: ANN401
        beliefs = Beliefs(trust_path, tuple(root_paths), tuple(list_paths), tuple(weak))
        return function(beliefs=beliefs, **arguments)

    return run


@dataclass(frozen=True)
class Beliefs:
    """What the options say of whom to believe."""

    trust_path: Path | None
    root_paths: tuple[Path, ...]
    list_paths: tuple[Path, ...]
    weak: tuple[str, ...]
    anchor_of_network: TrustAnchor | None = None
    """What stands in for a trust file where none is named."""

    @cached_property
    def anchor(self) -> TrustAnchor | None:
        """What a trust file, or else the network, pins."""
        from node.cli.trust_file import load_anchor

        return self.anchor_of_network if self.trust_path is None else load_anchor(self.trust_path)

    @cached_property
    def trust(self) -> EvidenceTrust:
        """What to verify evidence by; wrong usage where nobody is believed.

        Those of the chain are as good as the receipt of it that the evidence is about: alone, a
        stamp of a validator is the word of one key.
        """
        founders = () if self.anchor is None else self.anchor.authorities
        if not founders and not self.root_paths:
            raise click.UsageError(_("say whom to believe: --trust or --ca"))
        return replace(self.trust_without_receipt, roots=(*self._named, *founders))

    @cached_property
    def trust_without_receipt(self) -> EvidenceTrust:
        """What to verify evidence by that is about no receipt of the chain which is verified."""
        from node.cli.subjects import read_time_ms
        from node.errors import ClientError
        from node.timestamp.evidence.algorithms import STANDARD
        from node.timestamp.evidence.verify import EvidenceTrust

        policy = STANDARD
        for text in self.weak:
            name, _at, date = text.partition("@")
            try:
                policy = policy.weaken(name, read_time_ms(date))
            except ClientError as error:
                raise click.BadParameter(str(error), param_hint="--weak") from error
        return EvidenceTrust(roots=self._named, revocations=self.revocations, algorithms=policy)

    @cached_property
    def _named(self) -> list[bytes]:
        return read_certificates(self.root_paths)

    @cached_property
    def revocations(self) -> list[RevocationList]:
        """The lists of revoked certificates that are named."""
        from node.cli.revocation_lists import read_revocations

        return read_revocations(self.list_paths)

    def tell_lists(self, screen: Screen, records: Iterable[bytes]) -> dict[str, Any]:
        """Warn of lists that say nothing of evidence records; return JSON members."""
        from node.cli.revocation_lists import tell_lists
        from node.errors import DecodeError, ProofError
        from node.timestamp.evidence.record import EvidenceRecord

        tokens: list[bytes] = []
        beside: list[bytes] = []
        for data in records:
            with suppress(DecodeError, ProofError):  # what is none is told by its verdict
                record = EvidenceRecord.decode(data)
                tokens += [each.token for each in record.time_stamps]
                beside += record.certificates
        return tell_lists(screen, self.list_paths, self.revocations, tokens, beside)


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where a time stamp comes from; give `source`."""

    @click.option(
        "--url",
        help=_("Authority to ask over HTTP (RFC 3161), instead of a validator of the network."),
    )
    @click.option(
        "--certificates",
        "chain_paths",
        type=FILE,
        multiple=True,
        help=_("Certificates (PEM) between its own and those believed, if its tokens lack them."),
    )
    @network_options
    @functools.wraps(function)
    def run(
        *,
        url: str | None,
        chain_paths: Sequence[Path],
        network: NetworkChoice,
        **arguments: Any,  # noqa: ANN401 - as click gives them
    ) -> Any:  # noqa: ANN401
        return function(source=Source(network, url, tuple(chain_paths)), **arguments)

    return run


@dataclass(frozen=True)
class Source:
    """Who stamps."""

    network: NetworkChoice
    url: str | None
    chain_paths: tuple[Path, ...]

    def believing(self, beliefs: Beliefs) -> Beliefs:
        """Return the beliefs, with the network's founders where it is asked and none is named."""
        if self.url is not None or beliefs.trust_path is not None:
            return beliefs
        return replace(beliefs, anchor_of_network=self.network.open().anchor)

    def stamp(self, plan: Plan, trust: EvidenceTrust) -> tuple[bytes, list[bytes]]:
        """Return a verified token for a plan, and the certificates to keep beside it.

        Raises `CommandError`: GC-2020 for a refusal, GC-2305 for what does not hold.
        """
        from node.errors import CryptoError, DecodeError, ProofError
        from node.operations.stamp_client import new_nonce
        from node.timestamp.outside.stamp import OutsideAuthority, verify_stamp
        from node.timestamp.tokens.reading import ReadToken
        from node.timestamp.tokens.refusal import read_refusal
        from node.timestamp.tokens.request import TimeStampRequest

        imprint = plan.imprint
        request = TimeStampRequest(imprint=imprint, nonce=new_nonce(), wants_certificates=True)
        answer = self._ask(request)
        others = read_certificates(self.chain_paths)
        authority = OutsideAuthority(roots=trust.roots, certificates=others, allows_ed25519=True)
        fix = _("ask another authority, or name its certificate: --ca")
        try:
            if (refusal := read_refusal(answer)) is not None:
                raise CommandError("GC-2020", f"{refusal.failure.name}: {refusal}")
            verdict = verify_stamp(
                answer,
                (imprint.algorithm, imprint.digest),
                authority,
                request=request,
                now_ms=now_ms(),
            )
            stamp = verdict.attestation
            if stamp is None:
                raise CommandError("GC-2305", verdict.steps[-1].detail, fix)
            held = ReadToken.decode(stamp.token).certificates
        except (CryptoError, DecodeError, ProofError) as error:
            raise CommandError("GC-2305", str(error), fix) from error
        return stamp.token, [each for each in others if each in stamp.path and each not in held]

    def _ask(self, request: TimeStampRequest) -> bytes:
        from node.operations.stamp_client import ask_authority

        encoded = request.encode()
        if self.url is not None:
            return ask_authority(self.url, encoded)
        return self.network.open().ask(lambda client: client.time_stamp(encoded))


def now_ms() -> int:
    """Return the time here, in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000
