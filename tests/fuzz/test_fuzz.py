"""What the fuzzer kept is taken or refused as documented, and no reader of bytes is missing."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Final

import pytest

import node
from node.errors import DecodeError
from tests.fuzz import corpora
from tests.fuzz.targets import TARGETS, FoundError, Target

_READS: Final = ("decode", "parse", "unpack", "load", "open", "read")
"""How the names of functions begin that make something of bytes or text."""

NO_TARGETS: Final = {
    "chain.state_bucket:Bucket.read_head": "the start of what `decode` reads, of the same store",
    "cli.bench.machine:parse_metrics": "reads what our own nodes say, by prometheus-client",
    "cli.bench.page.bundle:read_source": "names a file of the package",
    "cli.inputs:read_stream": "gives the bytes of a file, of which it knows nothing",
    "cli.node_init:read_address": "names the option in what Address.parse refuses",
    "cli.vault.authorising:read_terms": "words of a command line, each read by a target or bounded",
    "cli.subjects:read_document": "names a file to hash, or is for NamedDigest.parse",
    "crypto.der:read_only": "a step of every target that reads DER",
    "execution.registry:decode_organisation": "reads what execution wrote into the state",
    "execution.vault:decode_document": "as above",
    "rpc.identity:read_distrust": "looks for words in what gRPC says",
    "service.catch_up.backfill:read_past_block": "header and body are read by targets; then proved",
    "web.verifier.bundle:read_source": "names a file of the package",
}
"""Functions of such names that are none, and why."""


def readers() -> set[str]:
    """Return, as targets are named, the public functions that read bytes or text."""
    found = set()
    for info in pkgutil.walk_packages(node.__path__, "node."):
        if ".pb" in info.name or info.name.endswith("__main__"):
            continue
        module = import_module(info.name)
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", None) != info.name:
                continue
            members = [(name, thing)]
            if inspect.isclass(thing):
                members = [
                    (f"{name}.{part}", getattr(thing, part))
                    for part, kind in vars(thing).items()
                    if isinstance(kind, classmethod | staticmethod)
                ]
            found |= {
                f"{info.name.removeprefix('node.')}:{path}"
                for path, function in members
                if inspect.isfunction(inspect.unwrap(getattr(function, "__func__", function)))
                and path.rpartition(".")[2].startswith(_READS)
                and _first_argument(function) in ("bytes", "str")
            }
    return found


def _first_argument(function: object) -> str:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return next((str(each.annotation) for each in parameters), "")


def test_every_reader_of_bytes_is_a_target_or_says_why_not() -> None:
    assert sorted(readers() - TARGETS.keys() - NO_TARGETS.keys()) == []
    assert sorted(NO_TARGETS.keys() - readers()) == []


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzer_kept_is_taken_or_refused_as_documented(name: str) -> None:
    target = TARGETS[name]
    inputs = [*corpora.read(name), *target.examples, b"", b"\xff", b" " * 99]
    taken = [target.attempt(data) for data in inputs]
    assert any(taken)
    assert not all(taken)


def test_no_corpus_is_of_a_target_that_is_gone() -> None:
    assert {file.stem for file in corpora.FOLDER.iterdir()} == {
        corpora.file_of(name).stem for name in TARGETS
    }


def test_an_undocumented_error_and_a_second_form_are_finds() -> None:
    def crash(_data: bytes) -> object:
        raise IndexError("beyond the end")

    one_form = Target(
        name="trial", run=bytes.lower, refusals=(DecodeError,), encode=lambda value: value
    )
    assert one_form.attempt(b"a")
    with pytest.raises(FoundError, match="takes 41 for 61"):
        one_form.attempt(b"A")
    crashing = Target(name="trial", run=crash, refusals=(DecodeError,), encode=None)
    with pytest.raises(IndexError):
        crashing.attempt(b"")
