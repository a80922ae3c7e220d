"""The wrong kind of file, given to every verb that takes one: called by its name, and sent home."""

from __future__ import annotations

import base64
import codecs
import json
import re
from pathlib import Path

import click
import pytest

from node.chain.encoding import encode
from node.cli import kinds
from node.cli.exit_codes import ExitCode
from node.cli.kinds import RECEIPTS, Kind, kind_of
from node.cli.main import cli
from node.cli.outputs import OutputFile
from node.cli.paper.render import render_report_pdf
from node.cli.under_way import UNDER_WAY_FORMAT
from node.crypto.certificate import encode_der, encode_pem
from node.crypto.revocation import build_revocation_list, encode_list_pem
from node.crypto.suite import SHA_256
from node.operations.founding import DRAFT_FORMAT, FOUNDER_FORMAT, SEALED_FORMAT
from node.operations.introduction import INTRODUCTION_FORMAT
from node.service.audit.report import sign_report
from node.timestamp.log.fork import FIRST_LINE as FORK_START
from node.timestamp.tokens.request import Imprint, TimeStampRequest
from node.web.verifier.bundle import bundle
from tests.unit.cli.command import CHINESE, run
from tests.unit.cli.test_outputs import leaves
from tests.unit.consensus.signing import evidence_against
from tests.unit.disclosure.test_watermark import MARK
from tests.unit.timestamp.authority import TSA
from tests.vectors.receipt.chain import signer
from tests.vectors.receipt.story import build_chain
from tests.vectors.receipt.tokens import authority_of

VECTORS = Path(__file__).parents[2] / "vectors"
RECEIPT_FOLDER = VECTORS / "receipt"
DOCUMENT, RECEIPT = (RECEIPT_FOLDER / name for name in ("document.txt", "document.txt.receipt"))
GENESIS_TRUST = RECEIPT_FOLDER / "trust" / "genesis.json"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def vector(path: str, member: str) -> bytes:
    return base64.b64decode(json.loads((VECTORS / path).read_text())[member])


def golden(name: str) -> bytes:
    return (RECEIPT_FOLDER / name).read_bytes()


def kind_named(name: str) -> Kind:
    """Return a kind that no verb takes."""
    found = [each for each in vars(kinds).values() if isinstance(each, Kind)]
    return next(each for each in found if each.english_name == name)


CHAIN = build_chain()


def disclosed(name: str) -> bytes:
    """Return a file of disclosures from the vectors."""
    vectors = json.loads((VECTORS / "disclosure" / "international.json").read_text("utf-8"))
    return bytes.fromhex(vectors[name])


LIST = build_revocation_list(authority_of(CHAIN), [], made_ms=0, next_ms=0)
REPORT = sign_report({"auditor": "a"}, signer("a"))
OUTSIDE = VECTORS / "anchor" / "authority" / "outside.pem"
ANCHOR_TRUST = VECTORS / "anchor" / "trust" / "genesis.json"

FILES: dict[str, tuple[Kind | None, bytes]] = {
    "it.receipt": (kinds.RECEIPT, golden("document.txt.receipt")),
    "it.refreshed": (
        kinds.REFRESHED,
        vector("receipt/refreshed-cases/good-retired.json", "receipt"),
    ),
    "it.cose": (kinds.COSE, golden("document.txt.cose")),
    "it.pdf": (kinds.CERTIFICATE_PDF, golden("document.txt.pdf")),
    "it.tsr": (kinds.TOKEN, golden("document.txt.tsr")),
    "it.tlog-proof": (kinds.TLOG, golden("document.txt.tlog-proof")),
    "it.qr.txt": (kinds.QR_TEXT, golden("compact.qr.txt")),
    "it.standing": (kinds.STANDING, vector("standing/standing/good-1.json", "proof")),
    "it.consistency": (
        kinds.CONSISTENCY,
        vector("standing/consistency/good-retired.json", "proof"),
    ),
    "it.anchor": (kinds.ANCHOR, vector("anchor/anchor/good-record.json", "anchor")),
    "it.disclosure": (kinds.DISCLOSURE, disclosed("disclosure")),
    "it.opening": (kinds.OPENING, disclosed("opening")),
    "it.fields": (kinds.STATEMENT, disclosed("statement")),
    "it.watermark": (kinds.MARK, MARK.encode()),
    "it.archive": (kinds.ARCHIVE, (VECTORS / "archive" / "blocks.archive").read_bytes()),
    "it.sent": (kinds.UNDER_WAY, encode([UNDER_WAY_FORMAT, b"", []])),
    "it.ers": (kinds.EVIDENCE, (VECTORS / "evidence" / "document.txt.ers").read_bytes()),
    "it.tsq": (kinds.REQUEST, TimeStampRequest(imprint=Imprint.of(SHA_256, bytes(32))).encode()),
    "trust.json": (kinds.TRUST, GENESIS_TRUST.read_bytes()),
    "report.json": (kinds.REPORT, REPORT),
    "proof": (kinds.MISBEHAVIOUR, evidence_against(1).encode()),
    "it.fork": (kinds.FORK, f"{FORK_START}\n\nlog\n".encode()),
    "step.json": (kinds.PROPOSAL, b'{"format": "govchain-proposal-3", "guests": []}'),
    "introduction.json": (kinds.INTRODUCTION, f'{{"format": "{INTRODUCTION_FORMAT}"}}'.encode()),
    "bundle.json": (kinds.FOUNDER, f'{{"format": "{FOUNDER_FORMAT}"}}'.encode()),
    "draft.json": (kinds.FOUNDING_DRAFT, f'{{"format": "{DRAFT_FORMAT}"}}'.encode()),
    "sealed.json": (kinds.FOUNDING, f'{{"format": "{SEALED_FORMAT}"}}'.encode()),
    "genesis.cbor": (kinds.GENESIS, CHAIN.genesis.encode()),
    "tsa.pem": (kinds.CERTIFICATE, encode_pem(TSA)),
    "tsa.der": (kinds.CERTIFICATE, encode_der(TSA)),
    "list.crl": (kinds.REVOCATIONS, LIST),
    "list.pem": (kinds.REVOCATIONS, encode_list_pem(LIST)),
    "page.html": (kind_named("a web page (HTML)"), bundle()),
    "audit.pdf": (
        kind_named("the page of an audit, its report attached (PDF)"),
        render_report_pdf(REPORT, {"auditor": "a"}),
    ),
    "bare.pdf": (kind_named("a PDF without a receipt in it"), b"%PDF-1.7\n%%EOF\n"),
    "code.svg": (kind_named("a picture"), golden("compact.qr.svg")),
    "scan.png": (kind_named("a picture"), PNG),
    "office.docx": (kind_named("an archive, or a document of an office program"), b"PK\3\4\0"),
    "some.json": (kind_named("JSON of another kind"), b'{"version": 1, "ok": true}'),
    "letter.txt": (kind_named("a text"), "一封信。\n".encode()),
    "marked.json": (kinds.MARKED, codecs.BOM_UTF8 + GENESIS_TRUST.read_bytes()),
    "wide.json": (kinds.MARKED, GENESIS_TRUST.read_text().encode("utf-16")),
    "long.txt": (kind_named("a text"), "汉".encode() * 4_000),
    "key.pem": (kind_named("a key"), b"-----BEGIN PRIVATE KEY-----\n"),
    "nothing": (None, b""),
    "noise": (None, bytes(range(256))),
}
TAKERS: dict[str, tuple[tuple[object, ...], tuple[Kind, ...]]] = {
    "verify --receipt": (
        ("verify", DOCUMENT, "--trust", GENESIS_TRUST, "--receipt"),
        (*RECEIPTS, kinds.TLOG, kinds.QR_TEXT),
    ),
    "verify --standing": (
        ("verify", DOCUMENT, "--trust", GENESIS_TRUST, "--receipt", RECEIPT, "--standing"),
        (kinds.STANDING,),
    ),
    "verify --trust": (("verify", DOCUMENT, "--receipt", RECEIPT, "--trust"), (kinds.TRUST,)),
    "verify --query": (
        ("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", GENESIS_TRUST, "--query"),
        (kinds.REQUEST,),
    ),
    "verify --certificate": (
        ("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", GENESIS_TRUST, "--certificate"),
        (kinds.CERTIFICATE,),
    ),
    "verify --crl": (
        ("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", GENESIS_TRUST, "--crl"),
        (kinds.REVOCATIONS,),
    ),
    "verify": (
        ("verify", "--trust", GENESIS_TRUST),
        (kinds.STANDING, kinds.CONSISTENCY, kinds.DISCLOSURE),
    ),
    "disclose verify": (
        ("disclose", "verify", "--trust", GENESIS_TRUST),
        (kinds.DISCLOSURE,),
    ),
    "archive verify": (("archive", "verify", "--trust", GENESIS_TRUST), (kinds.ARCHIVE,)),
    "archive import": (("archive", "import", "--home", "{home}"), (kinds.ARCHIVE,)),
    "receipt show": (("receipt", "show"), RECEIPTS),
    "receipt export": (("receipt", "export", "--format", "tsr", "--out", "{new}"), RECEIPTS),
    "receipt export --stamp": (
        ("receipt", "export", RECEIPT, "--format", "cose", "--out", "{new}", "--stamp"),
        (kinds.TOKEN,),
    ),
    "receipt refresh": (("receipt", "refresh", "--home", "{home}"), RECEIPTS),
    "anchor verify": (
        ("anchor", "verify", "--trust", GENESIS_TRUST, "--authority", OUTSIDE),
        (kinds.ANCHOR,),
    ),
    "anchor verify --receipt": (
        (
            "anchor",
            "verify",
            "{anchor}",
            "--trust",
            ANCHOR_TRUST,
            "--authority",
            OUTSIDE,
            "--receipt",
        ),
        RECEIPTS,
    ),
    "anchor verify --authority": (
        ("anchor", "verify", "{anchor}", "--trust", ANCHOR_TRUST, "--authority"),
        (kinds.CERTIFICATE,),
    ),
    "anchor export": (("anchor", "export", "{folder}", "--home", "{home}"), RECEIPTS),
    "evidence show": (("evidence", "show"), (kinds.EVIDENCE,)),
    "evidence verify": (("evidence", "verify", "{document}", "--ca", OUTSIDE), (kinds.EVIDENCE,)),
    "evidence verify --ca": (("evidence", "verify", "{document}", "--ca"), (kinds.CERTIFICATE,)),
    "evidence verify --crl": (
        ("evidence", "verify", "{document}", "--ca", OUTSIDE, "--crl"),
        (kinds.REVOCATIONS,),
    ),
    "timestamp -q": (("timestamp", "--home", "{home}", "--out", "{new}", "-q"), (kinds.REQUEST,)),
    "trust show": (("trust", "show"), (kinds.TRUST,)),
    "trust show --since": (("trust", "show", GENESIS_TRUST, "--since"), (kinds.TRUST,)),
    "audit report": (("audit", "report", "--trust", GENESIS_TRUST), (kinds.REPORT,)),
    "audit proof": (
        ("audit", "proof", "--home", "{home}", "--out", "{new}", "--between", "{file}", "tip"),
        (kinds.TRUST,),
    ),
    "misbehaviour verify": (
        ("misbehaviour", "verify", "--trust", GENESIS_TRUST),
        (kinds.MISBEHAVIOUR,),
    ),
    "witness verify": (("witness", "verify", "--trust", GENESIS_TRUST), (kinds.FORK,)),
    "node meet": (("node", "meet", "--profile", "{home}/profile.toml"), (kinds.INTRODUCTION,)),
    "node join --introduction": (
        ("node", "join", "--home", "{home}", "--introduction"),
        (kinds.INTRODUCTION,),
    ),
    "witness follow": (
        ("witness", "follow", "{folder}", "{file}", "http://127.0.0.1:9"),
        (kinds.TRUST,),
    ),
    "node init --genesis": (
        (
            *("node", "init", "{folder}", "--id", "a", "--organisation", "b", "--request"),
            *("--listen", "127.0.0.1:9", "--peer", "c=127.0.0.1:8", "--genesis"),
        ),
        (kinds.GENESIS,),
    ),
    "node leave --approve": (
        ("node", "leave", "--home", "{home}", "--as", "admin-1", "--yes", "--approve"),
        (kinds.PROPOSAL,),
    ),
    "genesis add": (("genesis", "add", "{new}", "--name", "a"), (kinds.FOUNDER,)),
    "genesis seal": (("genesis", "seal", "--out", "{new}"), (kinds.FOUNDING_DRAFT,)),
    "genesis check": (("genesis", "check", "{home}"), (kinds.FOUNDING,)),
    "genesis take": (("genesis", "take", "{home}"), (kinds.FOUNDING,)),
    "policy test": (("policy", "test", "--home", "{home}"), (kinds.PROPOSAL,)),
    "node leave --submit": (
        ("node", "leave", "--home", "{home}", "--submit"),
        (kinds.PROPOSAL,),
    ),
}
"""What comes before the file, and the kinds that are taken."""
OTHERS = {
    "--profile": "settings, in words of people; see tests/unit/test_config.py",
    "--key-file": "what opens keys",
    "--log": "written",
    "--masking": "a policy, in words of people; see tests/unit/disclosure/test_masking.py",
    "--csv": "a table, in words of people; see test_tables.py",
    "--certificates": "read as --certificate",
    "--previous": "read as --crl",
    "--file": "any content, kept as it is",
    "--decision": "any document, by its digest",
    "--basis": "any document, by its digest",
    "--key": "the public key of an application; tried by tests/unit/gateway",
}
"""Options that name other files."""
ANY_FILE = {"vault put", "disclose commit", "watermark mark", "watermark find"}
"""What takes whatever content there is, or a record in words of people."""
DAMAGED = {"nothing", "noise"}
"""What a verifier takes for a damaged proof, and says that it is none."""
VERIFIERS = {"verify --receipt", "verify --standing", "anchor verify", "evidence verify"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "network"
    assert run("testnet", "init", "--home", folder, "-n", 1).code == ExitCode.DONE
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_known_by_how_it_begins(name: str) -> None:
    kind, data = FILES[name]
    assert kind_of(data) is kind
    if not name.endswith(".pdf") and name not in {"some.json", "letter.txt"}:
        assert kind_of(data[: len(data) // 2 + 40]) in {kind, None}  # cut short


def test_members_of_json_stand_in_any_order() -> None:
    trust = json.loads((RECEIPT_FOLDER / "trust" / "pinned-7.json").read_text())
    turned = json.dumps(dict(reversed(trust.items())), indent=4).encode()
    assert turned.index(b'"format"') > 4_096
    assert kind_of(turned) is kinds.TRUST


@pytest.mark.parametrize("taker", TAKERS)
def test_the_wrong_kind_of_file_is_called_by_its_name(
    taker: str, home: Path, tmp_path: Path
) -> None:
    before, taken = TAKERS[taker]
    places = {each: tmp_path / each for each in ("new", "folder", "document", "anchor")}
    places["document"].touch()
    places["anchor"].write_bytes(FILES["it.anchor"][1])
    for name, (kind, data) in FILES.items():
        path = tmp_path / name
        path.write_bytes(data)
        if taker == "evidence verify":
            path = path.rename(tmp_path / "document.ers")
        given = [str(each).format(**places, home=home, file=path) for each in before]
        if "{file}" not in before and taker != "evidence verify":
            given.append(str(path))
        ran = run(*given, "--json")
        error = ran.json.get("error", {"code": "", "message": "", "fix": ""})
        places["new"].unlink(missing_ok=True)
        assert error["code"] != "GC-9001", (taker, name)
        if kind in taken:
            assert "is not" not in error["message"], (taker, name, error)
            continue
        if taker in VERIFIERS and name in DAMAGED:
            assert ran.code == ExitCode.NOT_VERIFIED, (taker, name, error)
            continue
        assert ran.code == ExitCode.USAGE, (taker, name, error)
        assert str(path) in error["message"], (taker, name)
        assert not re.search(r"expected|bytes follow|tag 0x|Error\(", error["message"]), (
            taker,
            name,
            error,
        )
        if kind is not None and taker != "verify":
            assert f" is {kind.name}, not " in error["message"], (taker, name, error)
        assert error["fix"]
        if kind is kinds.MARKED and taker != "verify":
            assert "without a byte order mark" in error["fix"]
        if kind is not None and kind.use:
            assert kind.use.format(path=path) in error["fix"]


def test_every_verb_that_takes_a_file_is_among_them() -> None:
    """An option of one name is read by one function, whatever the verb."""
    options = {key.split()[-1] for key in TAKERS if "--" in key}
    for words, verb in leaves(cli):
        for each in verb.params:
            kind = each.type
            if not isinstance(kind, click.Path) or isinstance(kind, OutputFile) or kind.dir_okay:
                continue
            if isinstance(each, click.Option):
                assert options & {*each.opts} or each.opts[0] in OTHERS, (words, each.opts)
            else:
                assert " ".join(words) in {*TAKERS, *ANY_FILE}, words


def test_a_byte_order_mark_in_settings_and_results_is_named_alike(
    home: Path, tmp_path: Path
) -> None:
    """Not by `kind_of`: settings have no kind, and are read by another room."""
    result, profile = tmp_path / "result.json", home / "marked.toml"
    result.write_bytes(codecs.BOM_UTF8 + b"{}")
    profile.write_bytes(codecs.BOM_UTF8 + (home / "profile.toml").read_bytes())
    for words in (("bench", "compare", result, result), ("record", "list", "--profile", profile)):
        ran = run(*words, "--json")
        assert (ran.code, ran.json["error"]["fix"]) == (ExitCode.USAGE, kinds.MARKED.fix("")), words
        assert "byte order mark (BOM)" in ran.json["error"]["message"]
        assert "不带字节顺序标记" in run(*words, env=CHINESE).err


def test_it_is_said_in_chinese_and_a_name_can_be_copied(tmp_path: Path) -> None:
    path = tmp_path / "a b.ers"
    path.write_bytes(FILES["it.ers"][1])
    ran = run("receipt", "show", path, env=CHINESE)
    assert "不是回执" in ran.err
    assert f"govchain evidence verify '{path}'" in ran.err
