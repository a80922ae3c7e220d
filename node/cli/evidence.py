"""`govchain evidence`: evidence records (RFC 4998), made, renewed, verified and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.age import AgeType
from node.cli.choice import DIGEST_NAMES
from node.cli.evidence_options import (
    Beliefs,
    Source,
    belief_options,
    folder_options,
    now_ms,
    source_options,
)
from node.cli.outputs import name_after, write_over
from node.cli.screen import Answer, Fault, Screen
from node.cli.token_options import FILE
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.cli.evidence_files import Folders, Subject
    from node.crypto.suite import DocumentDigest
    from node.timestamp.evidence.record import EvidenceRecord
    from node.timestamp.evidence.renewal import Plan
    from node.timestamp.evidence.verify import CoveredRecord, EvidenceTrust, EvidenceVerdict
    from node.timestamp.trust import TrustAnchor
    from node.timestamp.verify import Verdict


_files_argument = click.argument(
    "names", metavar="FILE|FOLDER...", nargs=-1, required=True, type=click.Path(exists=False)
)


@click.group(
    "evidence",
    cls=VerbGroup,
    help=_("Evidence (RFC 4998) that stays provable when keys and algorithms have aged."),
)
def evidence() -> None:
    """Hold the verbs."""


@evidence.command(
    "create",
    help=_(
        "Make evidence records of files, each together with its receipt, by one time stamp over "
        "all of them: of a validator, or of the authority at --url. The record of NAME covers "
        "NAME and its receipt, by whichever name notarize gave it, and is written to NAME.ers. "
        "What has a record is passed over."
    ),
)
@_files_argument
@click.option(
    "--digest",
    "digest_name",
    type=click.Choice(DIGEST_NAMES),
    default="sha-256",
    show_default=True,
    help=_("How to hash the files."),
)
@folder_options
@belief_options
@source_options
@verb("evidence create")
def create(
    screen: Screen,
    *,
    names: Sequence[str],
    digest_name: str,
    folders: Folders,
    beliefs: Beliefs,
    source: Source,
) -> Answer:
    """Make records."""
    from node.cli.evidence_files import find_subjects, hash_subjects, require_subjects
    from node.crypto.suite import document_digest_by_name
    from node.timestamp.evidence.renewal import plan_creation

    trust = source.believing(beliefs).trust
    found, faults = find_subjects(names, folders)
    algorithm = document_digest_by_name(digest_name)
    for each in found:
        if each.has_record:
            screen.note(_("{path}: is there already").format(path=each.record))
    missing = [each for each in found if not each.has_record]
    subjects, unreadable = hash_subjects(missing, algorithm)
    faults += unreadable
    all_done = _("every file has a record already: see govchain evidence renew")
    if not subjects and not faults:  # a nightly run without new files
        screen.line(all_done)
        return Answer({"records": []})
    require_subjects(subjects, faults, all_done)
    plan = plan_creation([each.group for each in subjects], algorithm)
    made = _finish(screen, plan, subjects, source, trust)
    told = beliefs.tell_lists(screen, _records_of(subjects))
    return Answer({"records": made, **told}, _some_failed(screen, faults))


@evidence.command(
    "renew",
    help=_(
        "Renew evidence records by one more time stamp, before a certificate ends or an algorithm "
        "weakens: see valid_until of verify. It is over the time stamps before it, or with "
        "--rehash over the files too, by a stronger hash. A record that does not verify by now is "
        "not renewed: it is too late."
    ),
)
@_files_argument
@click.option(
    "--rehash",
    "digest_name",
    type=click.Choice(DIGEST_NAMES),
    help=_("Hash the files anew, by this."),
)
@click.option(
    "--within",
    "within_ms",
    type=AgeType(),
    help=_("Only those that have to be renewed within this time: 90d."),
)
@folder_options
@belief_options
@source_options
@verb("evidence renew")
def renew(
    screen: Screen,
    *,
    names: Sequence[str],
    digest_name: str | None,
    within_ms: int | None,
    folders: Folders,
    beliefs: Beliefs,
    source: Source,
) -> Answer:
    """Renew records."""
    from node.cli.evidence_files import find_subjects, require_subjects
    from node.crypto.suite import document_digest_by_name
    from node.timestamp.evidence.renewal import plan_rehashing

    trust = source.believing(beliefs).trust
    found, faults = find_subjects(names, folders)
    subjects = [each for each in found if each.has_record]
    require_subjects(subjects, faults, _("no file has a record: see govchain evidence create"))
    sound: list[tuple[Subject, EvidenceRecord]] = []
    for each in subjects:
        record, until_ms, fault = _sound_record(screen, each, trust)
        if fault is not None:
            faults.append(fault)
        if record is not None and (within_ms is None or until_ms <= now_ms() + within_ms):
            sound.append((each, record))
    made: list[dict[str, Any]] = []
    if sound and digest_name is not None:
        algorithm = document_digest_by_name(digest_name)
        kept = [each for each, _record in sound]
        records = [record for _each, record in sound]
        plan = plan_rehashing(records, [each.group for each in kept], algorithm)
        made = _finish(screen, plan, kept, source, trust)
    elif sound:
        for kept, plan in _plans_of_renewal(sound):
            made += _finish(screen, plan, kept, source, trust)
    told = beliefs.tell_lists(screen, _records_of(subjects))
    if not made and faults:
        return Answer({"records": [], **told}, faults[0])
    if not made:
        screen.line(_("nothing has to be renewed yet"))
    return Answer({"records": made, **told}, _some_failed(screen, faults))


@evidence.command(
    "verify",
    help=_(
        "Verify evidence records, offline: that files, and receipts beside them, existed by the "
        "first time stamp, and that each was renewed before it lost its worth. With --trust the "
        "receipts are verified too."
    ),
)
@_files_argument
@click.option("--at", "at", metavar="TIME", help=_("Judge the last time stamp then.") + "  [now]")
@folder_options
@belief_options
@verb("evidence verify")
def verify(
    screen: Screen, *, names: Sequence[str], at: str | None, folders: Folders, beliefs: Beliefs
) -> Answer:
    """Verify records."""
    from node.cli.evidence_files import find_subjects, require_subjects
    from node.cli.evidence_wording import describe_evidence, fault_of, tell_evidence
    from node.cli.subjects import read_time_ms
    from node.cli.verdict import fault_of_receipt, tell_verdict
    from node.cli.wording import describe_verdict
    from node.timestamp.evidence.verify import verify_evidence

    at_ms = now_ms() if at is None else read_time_ms(at)
    trust, anchor = beliefs.trust, beliefs.anchor
    found, faults = find_subjects(names, folders)
    subjects = [each for each in found if each.has_record]
    require_subjects(subjects, faults, _("no file has a record: see govchain evidence create"))
    told: list[dict[str, Any]] = []
    for each in subjects:
        try:
            record = each.read_record()
        except CommandError as error:  # of this one: the others may be sound
            faults.append(error.fault)
            screen.note(error.fault.sentence)
            continue
        receipt = None if anchor is None else _judge_receipt(each, anchor)
        covered = None if receipt is None else receipt.covered
        believed = beliefs.trust_without_receipt if covered is None else trust
        verdict = verify_evidence(record, each.group, believed, at_ms=at_ms, covered=covered)
        tell_evidence(screen, each, verdict)
        facts = {
            "record": str(each.record),
            "files": [str(path) for path in each.files],
            **describe_evidence(verdict),
        }
        fault = fault_of(verdict, by_trust_file=anchor is not None)
        if receipt is not None:
            tell_verdict(screen, str(receipt.path), receipt.verdict)
            facts["receipt"] = {"path": str(receipt.path), **describe_verdict(receipt.verdict)}
            fault = fault or fault_of_receipt(receipt.verdict)
        faults += [] if fault is None else [fault]
        told.append(facts)
    lists = beliefs.tell_lists(screen, _records_of(subjects))
    return Answer({"evidence": told, **lists}, faults[0] if faults else None)


@evidence.command(
    "show", help=_("Show what an evidence record says. Whether it is true is for verify.")
)
@click.argument("path", metavar="RECORD", type=FILE)
@verb("evidence show")
def show(screen: Screen, *, path: Path) -> Answer:
    """Show a record."""
    from node.cli.evidence_wording import view_record
    from node.cli.kinds import EVIDENCE, read_kind
    from node.errors import CryptoError, DecodeError, ProofError
    from node.timestamp.evidence.record import EvidenceRecord

    data = read_kind(path, EVIDENCE)
    try:
        view = view_record(EvidenceRecord.decode(data))
    except (CryptoError, DecodeError, ProofError) as error:
        fix = _("name a file made by govchain evidence create")
        raise CommandError("GC-1001", f"{path}: {error}", fix) from error
    columns = (_("chain"), _("hash"), _("time"), _("authority"), _("certificate ends"))
    rows = [
        (each["chain"], each["algorithm"], each["time"], each["authority"], each["valid_until"])
        for each in view
    ]
    screen.table(columns, rows)
    screen.line(
        _("This is what the record says; govchain evidence verify tells whether it is true.")
    )
    return Answer({"time_stamps": view})


def _records_of(subjects: Sequence[Subject]) -> Iterator[bytes]:
    """Yield the records that can be read."""
    for each in subjects:
        with suppress(CommandError):
            yield each.read_record()


def _sound_record(
    screen: Screen, subject: Subject, trust: EvidenceTrust
) -> tuple[EvidenceRecord | None, int, Fault | None]:
    """Return a record that verifies now and until when it does, or tell why it does not."""
    from node.cli.evidence_wording import fault_of, tell_evidence
    from node.timestamp.evidence.record import EvidenceRecord
    from node.timestamp.evidence.verify import verify_evidence

    try:
        data = subject.read_record()
    except CommandError as error:
        return None, 0, error.fault
    verdict = verify_evidence(data, subject.group, trust, at_ms=now_ms())
    if verdict.attestation is None:
        tell_evidence(screen, subject, verdict)
        return None, 0, fault_of(verdict)
    return EvidenceRecord.decode(data), verdict.attestation.valid_until_ms, None


def _plans_of_renewal(
    sound: Sequence[tuple[Subject, EvidenceRecord]],
) -> list[tuple[list[Subject], Plan]]:
    """Return one plan for each hash algorithm in use, and whom it renews."""
    from node.timestamp.evidence.renewal import algorithm_in_use, plan_renewal

    by_algorithm: dict[DocumentDigest, list[tuple[Subject, EvidenceRecord]]] = {}
    for each in sound:
        by_algorithm.setdefault(algorithm_in_use(each[1]), []).append(each)
    return [
        ([subject for subject, _record in pairs], plan_renewal([record for _s, record in pairs]))
        for pairs in by_algorithm.values()
    ]


def _finish(
    screen: Screen,
    plan: Plan,
    subjects: Sequence[Subject],
    source: Source,
    trust: EvidenceTrust,
) -> list[dict[str, Any]]:
    """Have a plan stamped, verify what that makes, and write it."""
    from node.cli.evidence_wording import describe_evidence
    from node.timestamp.evidence.verify import verify_evidence

    token, certificates = source.stamp(plan, trust)
    made: list[dict[str, Any]] = []
    records = plan.finish(token, certificates)
    for subject, record in zip(subjects, records, strict=True):
        data = record.encode()
        verdict = verify_evidence(data, subject.group, trust, at_ms=now_ms())
        if verdict.attestation is None:
            cause = f"{subject.record}: {verdict.steps[-1].detail}"
            raise CommandError("GC-2305", cause, _("ask another authority"))
        write_over(subject.record, data)
        screen.line(_told(subject, verdict))
        files = [str(path) for path in subject.files]
        facts = {"record": str(subject.record), "files": files, **describe_evidence(verdict)}
        made.append(facts)
    return made


def _told(subject: Subject, verdict: EvidenceVerdict) -> str:
    from node.timestamp.receipt import iso_time

    attested = verdict.attestation
    said = _("written to {path} ({files}); renew it before {time}")
    files = ", ".join(path.name for path in subject.files)
    if subject.receipt is None:
        files = _("{file}, without a receipt").format(file=files)
    until = "" if attested is None else iso_time(attested.valid_until_ms)
    return said.format(path=subject.record, files=files, time=until)


@dataclass(frozen=True, slots=True)
class _JudgedReceipt:
    """A receipt and what came of it."""

    path: Path
    verdict: Verdict
    covered: CoveredRecord | None
    """What it attests; None unless it is verified."""


def _judge_receipt(subject: Subject, anchor: TrustAnchor) -> _JudgedReceipt | None:
    """Verify the receipt that a record covers, of the document beside it; None if there is none.

    A refreshed one beside it serves instead if it carries this very receipt.
    """
    from node.cli.inputs import is_file
    from node.cli.subjects import read_document, read_file
    from node.errors import DecodeError
    from node.timestamp.evidence.verify import CoveredRecord
    from node.timestamp.opening import digest_algorithm_of
    from node.timestamp.refreshed import REFRESHED_SUFFIX, RefreshedReceipt
    from node.timestamp.steps import Outcome
    from node.timestamp.verify import verify_receipt

    path = subject.receipt
    if path is None:
        return None
    receipt, refreshed = read_file(path), path.with_name(name_after(path.stem, REFRESHED_SUFFIX))
    if is_file(refreshed):
        data = read_file(refreshed)
        try:
            if RefreshedReceipt.decode(data).receipt.encode() == receipt:
                path, receipt = refreshed, data
        except DecodeError:
            pass
    digest = read_document(str(subject.document), digest_algorithm_of(receipt))
    verdict = verify_receipt(receipt, anchor, digest, now_ms=now_ms())
    attested = verdict.attestation if verdict.outcome is Outcome.VERIFIED else None
    covered = None if attested is None else CoveredRecord(attestation=attested, chain=anchor)
    return _JudgedReceipt(path, verdict, covered)


def _some_failed(screen: Screen, faults: Sequence[Fault]) -> Fault | None:
    """Tell every fault, and return what they come to beside what was done."""
    for fault in faults:
        screen.note(fault.sentence)
    if not faults:
        return None
    message = _("{count} files were left out").format(count=len(faults))
    return Fault("GC-2302", message, faults[0].fix)
