"""The vault on real validators: put by one organisation, got by another through its own node."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.chain.vault import Grant, Revoke
from node.cli.exit_codes import ExitCode
from node.cli.network import Network
from node.cli.vault.chain import VaultDesk
from node.cli.vault.content import Reading, upload_wraps
from node.cli.vault.moving import reading_of
from tests.network.local_network import Load, LocalNetwork
from tests.unit.cli.command import Ran, run

OWNER, READER, OTHER = "agency-1", "admin-2", "admin-3"
OWN_NODE, READER_NODE, OTHER_NODE = "validator-1", "validator-2", "validator-3"
DEADLINE_S = 40.0
POLL_S = 0.1
MIB = 1_048_576


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("vault") / "net"
    up = run("testnet", "up", "--home", folder, "--json")
    assert up.code == 0, up.err
    for name in (OWNER, READER, OTHER):
        assert vault(folder, "key", identity=name)["number"] == 1
    yield folder
    run("testnet", "down", "--home", folder)


def ask(home: Path, *arguments: object, identity: str = OWNER) -> Ran:
    return run("vault", *arguments, "--home", home, "--as", identity, "--json")


def vault(home: Path, *arguments: object, identity: str = OWNER) -> dict[str, Any]:
    ran = ask(home, *arguments, identity=identity)
    assert ran.code == 0, ran.out + ran.err
    return ran.json


def held(home: Path, node: str, document: str) -> dict[str, list[str]]:
    """Return the names of the objects that a node keeps of a document, by version."""
    folder = home / "nodes" / node / "vault" / document
    if not folder.is_dir():
        return {}
    return {
        each.name: sorted(one.name for one in each.iterdir() if not one.name.startswith("."))
        for each in folder.iterdir()
    }


def until(question: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not question():
        assert time.monotonic() < deadline_s, f"not in time: {what}"
        time.sleep(POLL_S)


def written(folder: Path, size_bytes: int) -> Path:
    """Make a file that no other test has."""
    path = folder / f"{size_bytes}.bin"
    path.write_bytes(os.urandom(size_bytes))
    return path


def put(home: Path, path: Path, *recipients: str) -> str:
    to = [word for name in recipients for word in ("--to", name)]
    return str(vault(home, "put", path, *to)["document"])


def begin_put_and_kill(home: Path, path: Path) -> Path:
    """Put a file until some chunks are sent; return the journal that is left of it."""
    outgoing = home / "clients" / OWNER / "vault-outgoing"
    words = ["vault", "put", str(path), "--to", "org-2", "--home", str(home), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "node", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: any(each.stat().st_size > 500 for each in outgoing.glob("*.put")), "some chunks")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (journal,) = outgoing.glob("*.put")
    return journal


def get(home: Path, document: str, out: Path, identity: str) -> bytes:
    vault(home, "get", document, "--out", out, identity=identity)
    return out.read_bytes()


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, MIB + 1, 3 * MIB + 17])
def test_what_one_organisation_puts_another_gets_through_its_own_node(
    home: Path, tmp_path: Path, size_bytes: int
) -> None:
    path = written(tmp_path, size_bytes)
    document = put(home, path, "org-2")
    shown = vault(home, "show", document)
    assert [each["identity"] for each in shown["recipients"]] == [READER, OWNER]
    assert shown["content"]["size_bytes"] == size_bytes
    chunks = max(1, -(-size_bytes // MIB))
    objects = chunks + (chunks > 1)  # several have a list
    until(lambda: sum(map(len, held(home, READER_NODE, document).values())) == objects + 1, "copy")
    assert sum(map(len, held(home, OWN_NODE, document).values())) == objects + 2
    assert held(home, OTHER_NODE, document) == {}, "org-3 has nothing to do with it"
    assert get(home, document, tmp_path / "got", READER) == path.read_bytes()
    everything = b"".join(
        each.read_bytes() for each in (home / "nodes" / OWN_NODE / "vault" / document).rglob("*/*")
    )
    assert path.name.encode() not in everything
    assert size_bytes < 16 or path.read_bytes()[:16] not in everything


def test_without_a_name_for_it_a_document_gets_its_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "决定书.pdf"
    path.write_bytes(b"content")
    document = put(home, path, "org-2")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert vault(home, "get", document, identity=READER)["file"] == "决定书.pdf"
    assert Path("决定书.pdf").read_bytes() == b"content"


def test_who_has_no_grant_gets_nothing_until_there_is_one(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 100)
    document = put(home, path, READER)
    refused = ask(home, "get", document, "--out", tmp_path / "no", identity=OTHER)
    assert (refused.code, refused.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2605")
    vault(home, "grant", document, "--to", "org-3")
    until(lambda: bool(held(home, OTHER_NODE, document)), "a copy at org-3")
    assert get(home, document, tmp_path / "yes", OTHER) == path.read_bytes()
    stranger = ask(home, "revoke", document, "--from", READER, identity=OTHER)
    assert (stranger.code, stranger.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2307")


def test_a_revocation_destroys_the_copies_and_says_what_it_can_not_do(
    home: Path, tmp_path: Path
) -> None:
    document = put(home, written(tmp_path, 2 * MIB), "org-2", "org-3")
    until(lambda: bool(held(home, READER_NODE, document)), "a copy at org-2")
    revoked = vault(home, "revoke", document, "--from", "org-2")
    assert "nothing takes that back" in revoked["limits"]
    assert [each["identity"] for each in revoked["recipients"]] == [OTHER, OWNER]
    until(lambda: held(home, READER_NODE, document) == {}, "gone at org-2")
    until(lambda: len(held(home, OWN_NODE, document)["1"]) == 5, "one wrapped key less")
    refused = ask(home, "get", document, "--out", tmp_path / "no", identity=READER)
    assert refused.json["error"]["code"] == "GC-2605"


def test_a_rotation_seals_anew_and_leaves_out_whom_it_names(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, MIB + 5)
    document = put(home, path, "org-2", "org-3")
    until(lambda: bool(held(home, READER_NODE, document).get("1")), "a copy at org-2")
    before = held(home, OWN_NODE, document)["1"]
    rotated = vault(home, "rotate", document, "--without", "org-3")
    assert rotated["content_version"] == 2
    assert "older version" in rotated["limits"]
    until(lambda: [*held(home, READER_NODE, document)] == ["2"], "the new version at org-2")
    until(lambda: [*held(home, OWN_NODE, document)] == ["2"], "the old one gone")
    assert not {*before} & {*held(home, OWN_NODE, document)["2"]}
    assert get(home, document, tmp_path / "got", READER) == path.read_bytes()
    replaced = written(tmp_path, 77)
    assert vault(home, "rotate", document, "--file", replaced)["content"]["size_bytes"] == 77
    assert get(home, document, tmp_path / "newer", READER) == replaced.read_bytes()


def test_a_shred_destroys_everything_but_a_tombstone(home: Path, tmp_path: Path) -> None:
    decision = tmp_path / "decision.txt"
    decision.write_text("destroy it")
    document = put(home, written(tmp_path, 500), "org-2")
    until(lambda: bool(held(home, READER_NODE, document)), "a copy at org-2")
    asked = ask(home, "shred", document)
    assert asked.code == ExitCode.USAGE, "it is not done unasked"
    shredded = vault(home, "shred", document, "--yes", "--decision", decision, identity="admin-1")
    assert (shredded["standing"], shredded["ordered_by"]) == ("shredded", "admin-1")
    assert len(shredded["decision"]) == 64
    for node in (OWN_NODE, READER_NODE):
        until(lambda node=node: held(home, node, document) == {}, f"gone at {node}")  # type: ignore[misc]
    late = ask(home, "get", document, "--out", tmp_path / "no", identity=READER)
    assert (late.code, late.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2604")
    assert "admin-1" in late.json["error"]["message"]
    again = ask(home, "shred", document, "--yes")
    assert again.json["error"]["code"] == "GC-2604"
    assert document in [each["document"] for each in vault(home, "list")["documents"]]


def test_a_flipped_bit_is_named_and_mended(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 3 * MIB)
    document = put(home, path, "org-2")
    until(lambda: sum(map(len, held(home, READER_NODE, document).values())) == 5, "a copy")
    folder = home / "nodes" / READER_NODE / "vault" / document / "1"
    for each in [folder / name for name in held(home, READER_NODE, document)["1"]]:
        data = bytearray(each.read_bytes())
        data[len(data) // 2] ^= 0x10
        each.write_bytes(data)
        ran = ask(home, "check", document, identity=READER)
        assert ran.code == ExitCode.NOT_VERIFIED, each.name
        assert ran.json["error"]["code"] == "GC-2603"
        (report,) = ran.json["checks"]
        assert each.name in [fault["object"] for fault in report["faults"]]
        until(lambda: ask(home, "check", document, identity=READER).code == 0, "fetched again")
    assert get(home, document, tmp_path / "got", READER) == path.read_bytes()


def test_a_node_that_was_down_gets_its_copies_and_destroys_what_was_shredded(
    home: Path, tmp_path: Path
) -> None:
    gone = put(home, written(tmp_path, 10), "org-3")
    until(lambda: bool(held(home, OTHER_NODE, gone)), "a copy at org-3")
    network = LocalNetwork(home)
    network.end(OTHER_NODE, signal.SIGKILL)
    path = written(tmp_path, 2 * MIB)
    document = put(home, path, "org-3")
    vault(home, "shred", gone, "--yes")
    assert held(home, OTHER_NODE, gone), "it does not know yet"
    assert run("testnet", "up", "--home", home).code == 0
    until(lambda: held(home, OTHER_NODE, gone) == {}, "shredded once it is back")
    until(lambda: sum(map(len, held(home, OTHER_NODE, document).values())) == 4, "its copy")
    assert vault(home, "check", document, identity=OTHER)["checks"][0]["sound"] == 4
    assert network.metric(OTHER_NODE, "vault_incomplete") == 0


def test_a_put_that_was_killed_goes_on(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 40 * MIB)
    journal = begin_put_and_kill(home, path)
    assert journal.stat().st_size < 40 * 32
    document = put(home, path, "org-2")
    assert held(home, OWN_NODE, document), "the same document, begun by the run that was killed"
    assert not journal.exists()
    assert get(home, document, tmp_path / "got", READER) == path.read_bytes()


def test_a_put_does_not_go_on_with_another_content(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 40 * MIB)
    journal = begin_put_and_kill(home, path)
    there = path.stat()
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))  # as if nothing had happened
    ran = ask(home, "put", path, "--to", "org-2")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2608")
    journal.unlink()


def test_a_get_that_was_stopped_goes_on_from_what_is_right(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 5 * MIB)
    document = put(home, path, "org-2")
    out = tmp_path / "got"
    part = tmp_path / f".got.{document[:8]}.v1.part"
    part.write_bytes(path.read_bytes()[: 2 * MIB] + bytes(MIB) + b"torn")
    assert get(home, document, out, READER) == path.read_bytes()
    assert not part.exists()


def test_recipients_without_a_key_are_named(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 10)
    for name in ("org-4", "admin-4", "org-4:admin-4", "nobody"):
        ran = ask(home, "put", path, "--to", name)
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2606"), name
        assert name in ran.json["error"]["message"]


def test_a_new_key_opens_what_is_granted_later_and_the_old_one_what_was(
    home: Path, tmp_path: Path
) -> None:
    path = written(tmp_path, 10)
    old = put(home, path, OTHER)
    number = vault(home, "key", identity=OTHER)["number"]
    assert vault(home, "key", "--new", identity=OTHER)["number"] == number + 1
    new = put(home, path, OTHER)
    for document in (old, new):
        out = tmp_path / document
        assert get(home, document, out, OTHER) == path.read_bytes()
    assert vault(home, "keys", "org-3")["keys"][0]["number"] == number + 1


async def order_in_turns(home: Path, documents: list[str], turns: int) -> int:
    """Grant documents to org-3 and revoke that, again and again, under load; return the orders."""
    desk = VaultDesk(Network.open(home, None, OWNER))
    await asyncio.to_thread(lambda: (desk.own_nodes, desk.network.signer))
    known = [
        await asyncio.to_thread(desk.find_kept, bytes.fromhex(document)) for document in documents
    ]
    (key,) = await asyncio.to_thread(desk.recipients, ["org-3"])
    readings = [await asyncio.to_thread(reading_of, desk, each) for each in known]
    load, orders = Load(LocalNetwork(home)), 0
    loading = asyncio.create_task(load.run())
    async with desk.network.client() as client:

        async def take_turns(reading: Reading) -> int:
            sealing = reading.sealing(await reading.secret(client))
            for _turn in range(turns):
                wraps = await upload_wraps(client, OWN_NODE, sealing, [key])
                await desk.submit(client, Grant(reading.document_id, 1, wraps))
                await desk.submit(client, Revoke(reading.document_id, (OTHER,)))
            return 2 * turns

        async with asyncio.TaskGroup() as tasks:
            taken = [tasks.create_task(take_turns(reading)) for reading in readings]
        orders = sum(task.result() for task in taken)
    load.stop()
    await loading
    assert load.results, "there was load"
    return orders


async def test_grants_and_revocations_hold_under_load(home: Path, tmp_path: Path) -> None:
    paths = [written(tmp_path, 1_000 + number) for number in range(5)]
    documents = [await asyncio.to_thread(put, home, path, "org-2") for path in paths]
    before = [await asyncio.to_thread(held, home, OWN_NODE, each) for each in documents]
    assert await order_in_turns(home, documents, 4) == 40
    for document, objects in zip(documents, before, strict=True):
        shown = await asyncio.to_thread(vault, home, "show", document)
        assert shown["changes"] == 1 + 8
        assert [each["identity"] for each in shown["recipients"]] == [READER, OWNER]
        await asyncio.to_thread(settle, home, document, objects)


def settle(home: Path, document: str, objects: dict[str, list[str]]) -> None:
    until(lambda: held(home, OWN_NODE, document) == objects, "no wrapped key left over")
    until(lambda: held(home, OTHER_NODE, document) == {}, "no copy left at org-3")


def test_who_is_frozen_is_left_out_and_gets_nothing(home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 20)
    document = put(home, path, "org-2", "org-3")
    frozen = run("identity", "freeze", OTHER, "--yes", "--home", home, "--json")
    assert frozen.code == 0, frozen.out + frozen.err
    try:
        refused = ask(home, "get", document, "--out", tmp_path / "no", identity=OTHER)
        assert refused.code != 0
        ran = ask(home, "put", path, "--to", "org-3")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2606")
        granted = ask(home, "grant", document, "--to", OTHER)
        assert (granted.code, granted.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2307")
        rotated = vault(home, "rotate", document)
        assert [each["identity"] for each in rotated["recipients"]] == [READER, OWNER]
    finally:
        again = run("identity", "unfreeze", OTHER, "--yes", "--home", home, "--json")
        assert again.code == 0, again.out + again.err
    vault(home, "grant", document, "--to", "org-3")
    assert get(home, document, tmp_path / "yes", OTHER) == path.read_bytes()
