"""The facts about a network's files and ports."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import ConfigError
from node.operations.topology import (
    NodeEntry,
    Topology,
    find_free_ports,
    is_port_free,
    is_vacant,
    lock_folder,
    write_file,
)

TOPOLOGY = Topology(
    version=1,
    name="trial",
    chain_id="ab" * 32,
    suite="international",
    created_ms=1,
    nodes=tuple(
        NodeEntry(
            id=f"validator-{number}",
            organisation=f"org-{number}",
            host="127.0.0.1",
            peer_port=17_000 + number,
            client_port=18_000 + number,
            metrics_port=19_000 + number,
            http_port=20_000 + number,
            home=f"nodes/validator-{number}",
        )
        for number in range(1, 5)
    ),
)


def test_a_topology_reads_back_as_written(tmp_path: Path) -> None:
    (tmp_path / "testnet.json").write_bytes(TOPOLOGY.encode())
    assert Topology.load(tmp_path) == TOPOLOGY


def test_four_validators_tolerate_one_and_need_three() -> None:
    assert (TOPOLOGY.faults, TOPOLOGY.quorum) == (1, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        TOPOLOGY.encode()[:-5],
        TOPOLOGY.encode().replace(b'"version": 1', b'"version": 2'),
        TOPOLOGY.encode().replace(b'"suite"', b'"sweet"'),
    ],
)
def test_a_damaged_topology_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "testnet.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"testnet\.json") as raised:
        Topology.load(tmp_path)
    assert (raised.value.code, bool(raised.value.fix)) == ("GC-2102", True)


def test_a_folder_without_a_network_says_how_to_make_one(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="no network here") as raised:
            Topology.load(home)
        assert raised.value.code == "GC-2101"
        assert str(home) in raised.value.fix


def test_a_folder_that_may_be_anything_is_never_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    with pytest.raises(ConfigError, match="no whole network") as raised:
        Topology.load(tmp_path)
    assert raised.value.code == "GC-2102"
    assert "--home" in raised.value.fix
    assert not re.search("rm |remove|destroy", raised.value.fix)


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_file_that_may_be_anything_is_never_to_be_removed(
    tmp_path: Path, content: bytes | None
) -> None:
    home = tmp_path / "testnet"
    if content is None:
        home.write_text("root:x:0:0", encoding="utf-8")
    else:
        home.mkdir()
        (home / "testnet.json").write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        Topology.load(home)
    assert raised.value.code == "GC-2102"
    assert "--home" in raised.value.fix
    assert not re.search("rm |remove|destroy", raised.value.fix)


def test_only_nothing_or_an_empty_folder_is_vacant(tmp_path: Path) -> None:
    assert is_vacant(tmp_path)
    assert is_vacant(tmp_path / "missing")
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert not is_vacant(tmp_path)
    assert not is_vacant(tmp_path / "file")
    assert not is_vacant(tmp_path / "dangling")


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")
    write_file(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path / "file", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_ports_in_use_are_not_free_and_not_offered() -> None:
    first, *_ = find_free_ports("127.0.0.1", 3)
    with socket.create_server(("127.0.0.1", first)):
        assert not is_port_free("127.0.0.1", first)
        others = find_free_ports("127.0.0.1", 3)
        assert first not in others
        assert len(set(others)) == 3
    assert not set(others) & set(find_free_ports("127.0.0.1", 3, spare=others))


FIND = """
import sys
from node.operations.topology import find_free_ports
print(*find_free_ports("127.0.0.1", int(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_ports_given_are_given_to_nobody_else_nor_tried_while_who_asked_lives() -> None:
    wanted, all_of_them = 40, range(17_100, 32_768)
    command = [sys.executable, "-c", FIND, str(wanted)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        given = {int(port) for port in other.stdout.readline().split()}
        assert len(given) == wanted
        rest = set(all_of_them) - given
        with pytest.raises(ConfigError, match="got 0") as raised:  # though nobody listens there
            find_free_ports("127.0.0.1", 1, spare=rest)
        assert raised.value.code == "GC-2104"
        assert all(is_port_free("127.0.0.1", port) for port in given)
        other.stdin.close()
    assert set(find_free_ports("127.0.0.1", wanted, spare=rest)) == given


def test_who_asks_again_is_given_other_ports() -> None:
    first = find_free_ports("127.0.0.1", 16)
    assert not set(first) & set(find_free_ports("127.0.0.1", 16))


def test_ports_of_the_other_loopback_are_found_too() -> None:
    (port,) = find_free_ports("::1", 1)
    assert is_port_free("::1", port)


def test_an_address_of_another_machine_offers_no_port() -> None:
    with pytest.raises(ConfigError, match="0") as raised:
        find_free_ports("192.0.2.1", 1)
    assert raised.value.code == "GC-2104"


HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_commands_do_not_change_one_network_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, os.fspath(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(ConfigError, match="another command") as raised,
            lock_folder(tmp_path, wait=False),
        ):
            pytest.fail("the lock was given twice")
        assert raised.value.code == "GC-2105"
        other.communicate()
    with lock_folder(tmp_path, wait=False):
        pass
