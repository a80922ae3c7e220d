"""The command as a whole: quick, documented, and speaking one form to people and to programs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest

import node
from node.cli.exit_codes import ExitCode
from node.cli.main import cli
from node.cli.verb import Verb
from tests.unit.cli.command import CHINESE, ENGLISH, run

ROOT = Path(node.__file__).parent.parent
HEAVY = ("asyncio", "cbor2", "cryptography", "grpc", "msgspec", "plyvel", "rich", "structlog")


def commands(command: click.Command, *words: str) -> list[tuple[str, ...]]:
    """Return the words of every verb."""
    if not isinstance(command, click.Group):
        return [words]
    context = click.Context(command)
    found: list[tuple[str, ...]] = []
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found += commands(child, *words, name)
    return found


VERBS = commands(cli)
SHOW_TRUST = ("trust", "show", str(ROOT / "tests/vectors/receipt/trust/genesis.json"))


def test_help_lists_every_verb_and_every_exit_code() -> None:
    ran = run("--help")
    assert ran.code == 0
    for words in VERBS:
        assert f"\n  {words[0]} " in ran.out
    for code in ExitCode:
        assert f"\n  {code.value} " in ran.out


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from node.cli.main import cli; "
        "code = cli.main(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY!r} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_has_help_and_a_json_form(words: tuple[str, ...]) -> None:
    ran = run(*words, "--help")
    assert ran.code == 0
    assert "--json" in ran.out
    assert f"Usage: govchain {' '.join(words)}" in ran.out


@pytest.mark.parametrize(
    ("arguments", "verb", "message"),
    [
        (("gossip",), "", "No such command"),
        (("testnet", "up", "--nodes", "0"), "testnet up", "not in the range"),
        (("verify", "x"), "verify", "--trust"),
        (("receipt",), "receipt", ""),
        (("notarize",), "notarize", "PATH"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(
    arguments: tuple[str, ...], verb: str, message: str
) -> None:
    plain = run(*arguments)
    assert plain.code == ExitCode.USAGE
    assert message in plain.err
    told = run(*arguments, "--json")
    if told.out:
        assert told.json["verb"] == verb
        assert told.json["error"]["code"] == "GC-2303"
        assert message in told.json["error"]["message"]
        assert "--help" in told.json["error"]["fix"]


def verb_of(words: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        child = command.get_command(click.Context(command), word)
        assert child is not None
        command = child
    return command


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_what_is_said_twice_is_refused_by_every_verb(words: tuple[str, ...]) -> None:
    """The last one would win, and nobody would hear of the first: of two trust files, say."""
    assert isinstance(verb_of(words), Verb)
    for option in verb_of(words).params:
        if not isinstance(option, click.Option) or option.multiple or option.count:
            continue
        if option.is_flag and not option.secondary_opts:
            continue  # said twice it says the same
        value = [] if option.is_flag else ["1"] * option.nargs
        second = (option.secondary_opts or option.opts)[0]
        with pytest.raises(click.UsageError, match=f"{option.opts[0]}: given more than once"):
            verb_of(words).make_context(
                words[-1], [option.opts[0], *value, second, *value, "--json"]
            )


def test_of_two_trust_files_none_is_passed_over(tmp_path: Path) -> None:
    words = ("verify", "x", "--trust", tmp_path / "mine", "--trust", tmp_path / "other")
    told = run(*words, env=CHINESE)
    assert told.code == ExitCode.USAGE
    assert "给出了不止一次" in told.err


def test_a_flag_may_be_said_twice() -> None:
    receipt = ROOT / "tests/vectors/receipt/document.txt.receipt"
    assert run("receipt", "show", receipt, "--json", "--json").code == ExitCode.DONE


def test_what_may_be_given_several_times_is_taken(tmp_path: Path) -> None:
    words = ("verify", "x", "--trust", tmp_path / "none", "--crl", "a", "--crl", "b", "--json")
    assert run(*words).json["error"]["code"] == "GC-2301"


def test_no_verb_shows_the_help_and_is_wrong_usage() -> None:
    ran = run()
    assert ran.code == ExitCode.USAGE
    assert "quickstart" in ran.err


def test_the_version_is_the_packages() -> None:
    assert node.__version__ in run("--version").out


def help_under(**variables: str) -> str:
    """Return the help as a user with these variables reads it."""
    environment = dict(os.environ)
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", "node", "--help"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        encoding="utf-8",
        env=environment | variables,
    )
    return done.stdout


@pytest.mark.parametrize(
    "variables",
    [
        {"LANG": "zh_CN.UTF-8"},
        {"LC_ALL": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"},
        {"LC_MESSAGES": "zh_HK.UTF-8"},
    ],
)
def test_a_chinese_user_is_spoken_to_in_chinese(variables: dict[str, str]) -> None:
    text = help_under(**variables)
    for word in ("用法", "选项", "退出码", "核验"):
        assert word in text


@pytest.mark.parametrize("variables", [{}, {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, {"LANG": "fr"}])
def test_everybody_else_is_spoken_to_in_english(variables: dict[str, str]) -> None:
    assert help_under(**variables).isascii()


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_it_does_not_want_them(
    variables: dict[str, str], *, coloured: bool
) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "NO_COLOR"}
    master, slave = pty.openpty()
    receipt = ROOT / "tests/vectors/receipt/document.txt.receipt"
    process = subprocess.Popen(
        [sys.executable, "-m", "node", "receipt", "show", receipt],
        cwd=ROOT,
        stdout=slave,
        env={**environment, "TERM": "xterm", **variables},
    )
    os.close(slave)
    text = b""
    with suppress(OSError), os.fdopen(master, "rb", buffering=0) as terminal:
        while chunk := terminal.read(65_536):  # ends with EIO when the other side is closed
            text += chunk
    assert process.wait() == 0
    assert b"sha-256:" in text
    assert (b"\x1b[" in text) is coloured


def test_errors_are_told_in_chinese_too() -> None:
    ran = run("gossip", env=CHINESE)
    assert "错误 GC-2303" in ran.err
    assert "原因" in ran.err
    assert "处理" in ran.err


@pytest.mark.parametrize("words", [("--help",), SHOW_TRUST, (*SHOW_TRUST, "--json")])
def test_a_reader_that_goes_away_ends_it_quietly(words: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "node", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before it says anything
        assert process.stderr.read() == b""
        assert process.wait() == ExitCode.UNREAD == 128 + signal.SIGPIPE


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_name_of_any_bytes_is_answered_under_any_encoding(form: tuple[str, ...]) -> None:
    name = b"no such \xff\n file"
    done = subprocess.run(
        [sys.executable, "-m", "node", "receipt", "show", name, *form],
        capture_output=True,
        check=False,
        env={**os.environ, **ENGLISH, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == ExitCode.USAGE
    if form:
        message = json.loads(done.stdout)["error"]["message"]
        assert os.fsencode(message) == name + b": No such file or directory"
    else:
        assert rb"cause: no such \udcff\n file: No such file or directory" in done.stderr


def test_an_error_of_the_rooms_below_begins_in_the_users_language(tmp_path: Path) -> None:
    """They speak English: what the table says of the code comes before what they say."""
    words = ("record", "list", "--home", tmp_path / "none", "--json")
    english, chinese = (run(*words, env=env).json["error"] for env in (ENGLISH, CHINESE))
    assert english["message"] == chinese["message"]
    assert english["summary"].isascii()
    assert not chinese["summary"].isascii()
    introduction, _, particular = chinese["fix"].partition(" (")
    assert not introduction.isascii()
    assert particular == english["fix"] + ")"


def test_a_fix_in_the_users_language_needs_no_introduction(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    ran = run("bench", "saturate", "--home", tmp_path, "--json", env=CHINESE)
    assert ran.json["error"]["fix"] == "请指定尚不存在的目录"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    ("output", "said"),
    [("> /dev/full", "No space left on device"), (">&-", "standard output is closed")],
)
def test_an_answer_without_room_is_not_given_and_is_no_defect(
    form: tuple[str, ...], output: str, said: str
) -> None:
    vectors = ROOT / "tests/vectors/receipt"
    proof = ("--receipt", vectors / "document.txt.receipt")
    options = (*proof, "--trust", vectors / "trust/genesis.json", "--offline", *form)
    for document in (vectors / "document.txt", "no such file"):
        words = map(str, ("verify", document, *options))
        done = subprocess.run(
            ["sh", "-c", f'"$@" {output}', "sh", sys.executable, "-m", "node", *words],
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
            env=os.environ | ENGLISH,
        )
        assert done.returncode == ExitCode.USAGE
        assert "Traceback" not in done.stderr
        if form or document != "no such file":  # whose error goes to the other stream
            assert "error GC-2306: output cannot be written" in done.stderr
            assert said in done.stderr
