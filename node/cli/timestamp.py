"""`govchain timestamp`: a time stamp of a document, asked for, checked strictly and written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.outputs import OutputFile, expect_nothing, name_after, write_anew
from node.cli.screen import Answer, Screen
from node.cli.token_options import (
    FILE,
    certificate_option,
    read_certificates,
    read_request,
)
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.timestamp.tokens.request import TimeStampRequest
    from node.timestamp.trust import TrustAnchor
    from node.timestamp.verify import NamedDigest, Verdict

ANSWER_SUFFIX: Final = ".tsr"

_FIX_ANOTHER: Final = _("ask another validator, and look into this one")
_FIX_UNPROVEN: Final = _("ask a validator of the chain that the trust file is of")


@click.command(
    "timestamp",
    cls=Verb,
    help=_(
        "Have the time of a document stamped (RFC 3161): a node records its digest on the chain "
        "and answers with a token, which is checked against the chain and written. Name the "
        "document by its file, by - for standard input, or by its digest; or give a request "
        "with -q."
    ),
)
@click.argument("document", metavar="[FILE|DIGEST|-]", required=False)
@click.option("-q", "--query", type=FILE, help=_("A request (DER) made by another program."))
@click.option("--digest", "algorithm", help=_("How to hash the file.") + "  [sha-256]")
@click.option(
    "--cert-req/--no-cert-req",
    default=None,
    help=_("Have the node's certificate in the token.") + "  [cert-req]",
)
@click.option("--out", type=OutputFile(), help=_("File to write the answer to.") + "  [FILE.tsr]")
@click.option("--url", help=_("Ask over HTTP instead, at http://HOST:PORT/tsa."))
@click.option("--trust", type=FILE, help=_("Trust file to check by, instead of the genesis."))
@certificate_option
@network_options
@verb("timestamp")
def timestamp(
    screen: Screen,
    *,
    document: str | None,
    query: Path | None,
    network: NetworkChoice,
    **said: Any,  # noqa: ANN401 - as click gives them
) -> Answer:
    """Have the time of a document stamped."""
    from node.cli.verdict import tell_verdict
    from node.cli.wording import describe_verdict
    from node.timestamp.verify import NamedDigest

    algorithm, cert_req, url, trust, paths = (
        said[name] for name in ("algorithm", "cert_req", "url", "trust", "certificate_paths")
    )
    if (document is None) == (query is None):
        raise click.UsageError(_("give a document, or a request with -q"))
    if query is not None and (algorithm is not None or cert_req is not None):
        raise click.UsageError(_("a request that is given says itself what it asks for"))
    label = str(query) if document is None else document
    if document is None:
        request = read_request(Path(label))
    else:
        request = _make_request(document, algorithm, wants_certificates=cert_req is not False)
    target = _target(label, said["out"])
    certificates = read_certificates(paths)
    if not (request.wants_certificates or certificates):
        message = _("a token without certificates is checked by one beside it: --certificate")
        raise click.UsageError(message)
    source = _Source(network, url, trust)
    source.anchor  # noqa: B018 - one that does not hold is told before anything is recorded
    reply = source.ask(request.encode())
    digest = NamedDigest(request.imprint.algorithm, request.imprint.digest)
    verdict = check_answer(reply, request, digest, source, certificates=certificates)
    keep_answer(target, reply, verdict)
    tell_verdict(screen, label, verdict)
    screen.line(_("written to {path}").format(path=target))
    return Answer({"token": str(target), "digest": str(digest), **describe_verdict(verdict)})


@dataclass(frozen=True)
class _Source:
    """Whom to ask, and what the answer is checked by."""

    network: NetworkChoice
    url: str | None
    trust: Path | None

    @cached_property
    def _found(self) -> Network:
        return self.network.open()

    @cached_property
    def anchor(self) -> TrustAnchor:
        from node.cli.trust_file import load_anchor

        return self._found.anchor if self.trust is None else load_anchor(self.trust)

    def judge(self, verify: Callable[[TrustAnchor], Verdict]) -> Verdict:
        """Return a verdict by the anchor; of the network also by what leads on from it."""
        if self.trust is not None:
            return verify(self.anchor)
        return self._found.judge_by(self.anchor, verify)

    def ask(self, request: bytes) -> bytes:
        from node.operations.stamp_client import ask_authority

        if self.url is not None:
            return ask_authority(self.url, request)
        return self._found.ask(lambda client: client.time_stamp(request))


def check_answer(
    answer: bytes,
    request: TimeStampRequest,
    digest: NamedDigest,
    source: _Source,
    *,
    certificates: Sequence[bytes] = (),
) -> Verdict:
    """Check that an answer is what was asked for, by the strictest reading, and by the chain.

    `certificates` are those at hand for a token that was asked for without.
    Raises `CommandError`: GC-2020 for a refusal, with its reason; GC-2305 for what does not hold;
    GC-2310 for what nothing is wrong with, and the anchor does not lead to.
    """
    from node.cli.wording import (
        authority_fix,
        clock_fix,
        step_cause,
        unchecked_fault,
        unrooted_fault,
    )
    from node.errors import CryptoError, DecodeError, ProofError
    from node.timestamp.steps import FUTURE_RULE, NotRootedError
    from node.timestamp.tokens.check import Expectation, check_token
    from node.timestamp.tokens.reading import token_of_answer
    from node.timestamp.tokens.refusal import read_refusal
    from node.timestamp.verify import Outcome, verify_receipt

    now_ms = time.time_ns() // 1_000_000
    try:
        if (refusal := read_refusal(answer)) is not None:
            raise CommandError("GC-2020", f"{refusal.failure.name}: {refusal}")
        expected = Expectation(
            document=(digest.algorithm, digest.value),
            roots=source.anchor.authorities,
            certificates=certificates,
            request=request,
            now_ms=now_ms,
        )
        check_token(token_of_answer(answer), expected)
    except NotRootedError as error:
        raise CommandError("GC-2310", str(error), authority_fix()) from error
    except (CryptoError, DecodeError, ProofError) as error:
        is_from_future = isinstance(error, ProofError) and error.rule == FUTURE_RULE
        fix = clock_fix() if is_from_future else _FIX_ANOTHER
        raise CommandError("GC-2305", str(error), fix) from error
    verdict = source.judge(
        lambda anchor: verify_receipt(
            answer, anchor, digest, now_ms=now_ms, request=request, certificates=certificates
        )
    )
    failure = verdict.failure
    if verdict.outcome is Outcome.NOT_ROOTED and failure is not None:
        fault = unrooted_fault(failure, _FIX_UNPROVEN)
        raise CommandError(fault.code, fault.message, fault.fix)
    if failure is not None:
        cause = step_cause(failure)
        fix = clock_fix() if failure.is_from_future else _FIX_ANOTHER
        raise CommandError("GC-2305", cause, fix)
    if (unchecked := unchecked_fault(verdict)) is not None:
        raise CommandError(unchecked.code, unchecked.message, unchecked.fix)
    return verdict


def keep_answer(target: Path, answer: bytes, verdict: Verdict) -> None:
    """Write an answer; raises `CommandError` that names the transaction, which is recorded."""
    try:
        write_anew(target, answer)
    except CommandError as error:
        if verdict.attestation is None:
            raise
        fix = _("write elsewhere (--out): it is recorded already, by transaction {tx_id}")
        fix = fix.format(tx_id=verdict.attestation.tx_id.hex())
        raise CommandError(error.code, str(error), fix) from error


def _make_request(
    document: str, algorithm: str | None, *, wants_certificates: bool
) -> TimeStampRequest:
    from node.cli.subjects import read_document
    from node.crypto.suite import SHA_256, document_digest_by_name
    from node.errors import CryptoError
    from node.operations.stamp_client import new_nonce
    from node.timestamp.tokens.request import Imprint, TimeStampRequest

    try:
        hashed = SHA_256 if algorithm is None else document_digest_by_name(algorithm)
    except CryptoError as error:
        raise click.BadParameter(str(error), param_hint="--digest") from error
    digest = read_document(document, hashed)
    return TimeStampRequest(
        imprint=Imprint.of(digest.algorithm, digest.value),
        nonce=new_nonce(),
        wants_certificates=wants_certificates,
    )


def _target(label: str, out: Path | None) -> Path:
    """Return where to write to, where nothing may be yet: what is there may be evidence."""
    from node.cli.inputs import STANDARD_INPUT, is_file

    if out is None:
        if label == STANDARD_INPUT or not is_file(label):
            raise click.UsageError(_("name the file to write to: --out"))
        out = Path(name_after(Path(label).name, ANSWER_SUFFIX))
    expect_nothing(out)
    return out
