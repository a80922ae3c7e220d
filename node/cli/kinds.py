"""What a file is, by how it begins: so that the wrong one is called by its name, not a broken one.

Only the beginning is looked at. Whether the rest holds is for whoever reads or verifies it.
"""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import Final

from node.cli.remedies import N_
from node.cli.subjects import read_file
from node.cli.verb import CommandError
from node.config import is_marked
from node.crypto import der
from node.disclosure.fields import STATEMENT_PREFIX
from node.disclosure.opening import OPENING_PREFIX
from node.disclosure.proof import DISCLOSURE_PREFIX
from node.disclosure.watermark import WATERMARK_PREFIX
from node.errors import DecodeError
from node.limits import RECEIPT_FILE_BYTES_MAX, TRUST_FILE_BYTES_MAX
from node.service.audit.report import REPORT_FORMAT
from node.timestamp.compact_verify import is_compact
from node.timestamp.consistency import CONSISTENCY_PREFIX
from node.timestamp.cose import COSE_START
from node.timestamp.log.fork import FIRST_LINE as FORK_START
from node.timestamp.log.verify import is_tlog_proof
from node.timestamp.outside.anchor import ANCHOR_PREFIX
from node.timestamp.refreshed import REFRESHED_PREFIX
from node.timestamp.standing import STANDING_PREFIX
from node.timestamp.trust import TRUST_FORMAT

PROPOSAL_FORMAT: Final = "govchain-proposal-3"
_INTRODUCTION_FORMAT: Final = "govchain-introduction-1"  # its module takes long to load
_FOUNDER_FORMAT: Final = "govchain-founder-1"  # as above
_DRAFT_FORMAT: Final = "govchain-founding-draft-1"
_SEALED_FORMAT: Final = "govchain-founding-1"
_ARCHIVE_START: Final = b"govchain-archive-1\n"  # as above
_SENT_START: Final = b"\x83\x6fgovchain-sent-1"  # as above
LOOKED_AT_BYTES: Final = 4_096
"""Of a file: so many tell what it is, unless it is a PDF."""
_CHAIN_ID: Final = rb"\x58\x20"
_UINT: Final = rb"(?:[\x00-\x17]|\x18.|\x19..|\x1a.{4}|\x1b.{8})"
_SHORT_TEXT: Final = rb"[\x60-\x78]"
_EXPLICIT_0: Final = der.context(0, constructed=True)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file: what it is called, where it belongs, and what makes one."""

    english_name: str
    use: str = ""
    """The command that takes it, with `{path}`; nothing if none does."""
    maker: str = ""
    """The command that makes it; nothing if it is not made here."""
    mending: str = ""
    """What makes it what it was meant to be, in English; nothing if it is something else."""

    @property
    def name(self) -> str:
        """Return what it is called, in the user's language."""
        return _(self.english_name)

    def fix(self, path: object) -> str:
        """Return what to do with a file of this kind; it must have a use, or a mending."""
        if self.mending:
            return _(self.mending)
        said = _("it belongs here: {command}")
        return said.format(command=self.use.format(path=shlex.quote(str(path))))


_VERIFY: Final = "govchain verify DOCUMENT --receipt {path}"
_ALONE: Final = "govchain verify {path}"

RECEIPT: Final = Kind(N_("a receipt"), _VERIFY, "govchain notarize")
REFRESHED: Final = Kind(N_("a refreshed receipt"), _VERIFY, "govchain receipt refresh")
COSE: Final = Kind(N_("a COSE Receipt"), _VERIFY, "govchain receipt export --format cose")
CERTIFICATE_PDF: Final = Kind(
    N_("a PDF certificate"), _VERIFY, "govchain receipt export --format pdf"
)
TOKEN: Final = Kind(N_("a time-stamp token"), _VERIFY, "govchain timestamp")
TLOG: Final = Kind(N_("a tlog-proof"), _VERIFY, "govchain receipt export --format tlog")
QR_TEXT: Final = Kind(N_("the text of a QR code"), _VERIFY, "govchain receipt export --format qr")
STANDING: Final = Kind(N_("a proof of standing"), _ALONE, "govchain record status --prove")
CONSISTENCY: Final = Kind(N_("a proof of consistency"), _ALONE, "govchain audit proof")
DISCLOSURE: Final = Kind(
    N_("a disclosure"),
    "govchain disclose verify {path} --trust TRUST",
    "govchain disclose prove",
)
OPENING: Final = Kind(
    N_("the opening of a record (secret)"),
    "govchain disclose prove {path}",
    "govchain disclose commit --keep-here",
)
STATEMENT: Final = Kind(
    N_("the commitment to a record's fields"), "govchain verify {path}", "govchain disclose commit"
)
MARK: Final = Kind(
    N_("the statement of a marked copy"),
    "govchain watermark find FILE {path}",
    "govchain watermark mark",
)
ANCHOR: Final = Kind(N_("an anchor"), "govchain anchor verify {path}", "govchain anchor export")
EVIDENCE: Final = Kind(
    N_("an evidence record"), "govchain evidence verify {path}", "govchain evidence create"
)
REQUEST: Final = Kind(
    N_("a request for a time stamp"), "govchain timestamp -q {path}", "openssl ts -query"
)
TRUST: Final = Kind(N_("a trust file"), "govchain trust show {path}", "govchain trust export")
REPORT: Final = Kind(
    N_("the report of an audit"), "govchain audit report {path}", "govchain audit run"
)
MISBEHAVIOUR: Final = Kind(
    N_("a proof of misbehaviour"),
    "govchain misbehaviour verify {path}",
    "govchain misbehaviour show --out",
)
FORK: Final = Kind(
    N_("a proof of a fork"), "govchain witness verify {path}", "govchain witness run"
)
PROPOSAL: Final = Kind(
    N_("a proposal"), "govchain node join --approve {path}", "govchain node join --propose"
)
INTRODUCTION: Final = Kind(N_("an introduction"), "govchain node meet {path}", "govchain node init")
FOUNDER: Final = Kind(
    N_("the bundle of an organisation"), "govchain genesis add DRAFT {path}", "govchain genesis new"
)
FOUNDING_DRAFT: Final = Kind(
    N_("the draft of a chain"),
    "govchain genesis seal {path} --out sealed.json",
    "govchain genesis add",
)
FOUNDING: Final = Kind(
    N_("what founders sealed"), "govchain genesis take HOME {path}", "govchain genesis seal"
)
GENESIS: Final = Kind(
    N_("a genesis"), "govchain node init --genesis {path}", "govchain testnet init"
)
CERTIFICATE: Final = Kind(N_("a certificate"), "--certificate, --certificates, --ca")
REVOCATIONS: Final = Kind(N_("a revocation list"), "--crl {path}", "govchain node revoke")
MARKED: Final = Kind(
    N_("a text that begins with a byte order mark (BOM)"),
    mending=N_("save it as UTF-8 without a byte order mark"),
)
_KEY: Final = Kind(N_("a key"))
_PDF: Final = Kind(N_("a PDF without a receipt in it"))
_AUDIT_PDF: Final = Kind(
    N_("the page of an audit, its report attached (PDF)"), "govchain audit report audit-report.json"
)
_PAGE: Final = Kind(N_("a web page (HTML)"))
_PICTURE: Final = Kind(N_("a picture"))
_ZIPPED: Final = Kind(N_("an archive, or a document of an office program"))
ARCHIVE: Final = Kind(
    N_("an archive of blocks"),
    "govchain archive verify {path} --trust TRUST",
    "govchain archive export",
)
UNDER_WAY: Final = Kind(
    N_("a transaction under way"),
    maker="govchain notarize",
    mending=N_("go on with it: govchain notarize --resume, with the same --out"),
)
_JSON: Final = Kind(N_("JSON of another kind"))
_TEXT: Final = Kind(N_("a text"))

RECEIPTS: Final = (RECEIPT, REFRESHED, COSE, CERTIFICATE_PDF, TOKEN)
"""What carries a receipt."""

_BY_FORMAT: Final = {
    TRUST_FORMAT: TRUST,
    REPORT_FORMAT: REPORT,
    PROPOSAL_FORMAT: PROPOSAL,
    _INTRODUCTION_FORMAT: INTRODUCTION,
    _FOUNDER_FORMAT: FOUNDER,
    _DRAFT_FORMAT: FOUNDING_DRAFT,
    _SEALED_FORMAT: FOUNDING,
}
_FORMAT_MEMBER: Final = re.compile(rb'"format"\s*:\s*"([^"]{1,64})"')
_BY_START: Final = (
    (rb"\x8d\x01" + _CHAIN_ID, RECEIPT),
    (rb"\x89\x01" + _UINT + _CHAIN_ID, MISBEHAVIOUR),
    (rb"\x89\x01" + _UINT + _SHORT_TEXT, GENESIS),
    (rb"(?:[^{].*?\n)?-----BEGIN CERTIFICATE-", CERTIFICATE),
    (rb"-----BEGIN X509 CRL-", REVOCATIONS),
    (rb"-----BEGIN [A-Z ]*KEY-", _KEY),
    (rb"(?i:\s*(?:<!--.{0,2000}?-->\s*)?<(?:!doctype html|html)\b)", _PAGE),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|\s*(?:<\?xml[^>]*>\s*)?<svg\b", _PICTURE),
    (rb"PK\x03\x04", _ZIPPED),
    (_ARCHIVE_START, ARCHIVE),
    (_SENT_START, UNDER_WAY),
)
_PATTERNS: Final = tuple((re.compile(start, re.DOTALL), kind) for start, kind in _BY_START)
_TESTS: Final[tuple[tuple[Callable[[bytes], bool], Kind], ...]] = (
    (is_marked, MARKED),
    (lambda data: data.startswith(COSE_START), COSE),
    (lambda data: data.startswith(REFRESHED_PREFIX), REFRESHED),
    (lambda data: data.startswith(STANDING_PREFIX), STANDING),
    (lambda data: data.startswith(CONSISTENCY_PREFIX), CONSISTENCY),
    (lambda data: data.startswith(ANCHOR_PREFIX), ANCHOR),
    (lambda data: data.startswith(DISCLOSURE_PREFIX), DISCLOSURE),
    (lambda data: data.startswith(OPENING_PREFIX), OPENING),
    (lambda data: data.startswith(STATEMENT_PREFIX), STATEMENT),
    (lambda data: data.startswith(WATERMARK_PREFIX), MARK),
    (lambda data: data.startswith(FORK_START.encode()), FORK),
    (is_tlog_proof, TLOG),
    (is_compact, QR_TEXT),
)


def kind_of(data: bytes) -> Kind | None:
    """Return what a file is by how it begins; None for what looks like nothing known."""
    start = data[:LOOKED_AT_BYTES]
    if data.startswith(b"%PDF-"):
        return _kind_of_pdf(data)
    for matches, kind in _TESTS:
        if matches(start):
            return kind
    for pattern, kind in _PATTERNS:
        if pattern.match(start):
            return kind
    return _kind_of_der(data) or _kind_of_text(data)


def expect_kind(path: object, data: bytes, *wanted: Kind, code: str = "GC-1001") -> None:
    """Raise `CommandError` unless a file begins as one of the kinds wanted.

    It says what the file is and where it belongs, or what makes the first of the kinds wanted.
    """
    refuse_other(path, data, *wanted, code=code)
    if kind_of(data) is None:
        message = _("{path} is not {wanted}").format(path=path, wanted=wanted[0].name)
        raise CommandError(code, message, _fix(None, wanted[0], path))


def refuse_other(path: object, data: bytes, *wanted: Kind, code: str = "GC-1001") -> None:
    """Raise `CommandError` where a file begins as some other kind than those wanted.

    What looks like nothing known may be one of those, damaged: that is for its verifier to say.
    """
    found = kind_of(data)
    if found is not None and found not in wanted:
        message = _("{path} is {kind}, not {wanted}")
        told = message.format(path=path, kind=found.name, wanted=wanted[0].name)
        raise CommandError(code, told, _fix(found, wanted[0], path))


def read_kind(path: Path, *wanted: Kind, code: str = "GC-1001") -> bytes:
    """Return the content of a file of one of some kinds; raises `CommandError` for any other."""
    data = read_file(path, TRUST_FILE_BYTES_MAX if TRUST in wanted else RECEIPT_FILE_BYTES_MAX)
    expect_kind(path, data, *wanted, code=code)
    return data


def read_claim(path: Path, *wanted: Kind, code: str = "GC-1001") -> bytes:
    """Return the content of a file, refused only where it begins as another kind than wanted."""
    data = read_file(path)
    refuse_other(path, data, *wanted, code=code)
    return data


def _fix(found: Kind | None, wanted: Kind, path: object) -> str:
    if found is not None and (found.use or found.mending):
        return found.fix(path)
    if wanted.maker:
        said = _("name {wanted}: {command} makes one")
        return said.format(wanted=wanted.name, command=wanted.maker)
    return _("name {wanted}").format(wanted=wanted.name)


def _kind_of_pdf(data: bytes) -> Kind:
    """Tell what a PDF is by what is attached to it, which stands anywhere in it."""
    if b"/EmbeddedFile" not in data:
        return _PDF
    return _AUDIT_PDF if b"/F(audit-report.json)" in data else CERTIFICATE_PDF


def _kind_of_der(data: bytes) -> Kind | None:
    """Tell what ASN.1 of ours is by the tags it begins with."""
    if data[:1] != bytes((der.SEQUENCE,)):
        return None
    try:
        outer = der.Reader(der.Reader(data, "file").read().content, "file")
        first = outer.read()
        if first.tag == der.OBJECT_IDENTIFIER:
            return TOKEN
        if first.tag == der.INTEGER:  # a version, then algorithms, or an imprint
            inner = der.Reader(outer.read(der.SEQUENCE).content, "file")
            inner.read(der.SEQUENCE)
            is_imprint = not inner.is_empty and inner.read().tag == der.OCTET_STRING
            return REQUEST if is_imprint else EVIDENCE
        inner = der.Reader(first.content, "file")
        if inner.read().tag == _EXPLICIT_0:
            return CERTIFICATE
        algorithm = None if inner.is_empty else inner.read()
        is_list = algorithm is not None and algorithm.content[:1] == bytes((der.OBJECT_IDENTIFIER,))
        return REVOCATIONS if is_list else TOKEN
    except DecodeError:
        return None


def _kind_of_text(data: bytes) -> Kind | None:
    """Tell what text is; members of JSON stand in any order."""
    start = data[:LOOKED_AT_BYTES]
    try:
        is_whole = len(start) < LOOKED_AT_BYTES
        text = codecs.getincrementaldecoder("utf-8")().decode(start, final=is_whole)
    except UnicodeDecodeError:
        return None
    if not text.strip() or not all(each.isprintable() or each.isspace() for each in text):
        return None
    if not text.lstrip().startswith(("{", "[")):
        return _TEXT
    named = _FORMAT_MEMBER.search(data)
    return _JSON if named is None else _BY_FORMAT.get(named[1].decode(errors="replace"), _JSON)
