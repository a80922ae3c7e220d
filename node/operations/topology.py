"""A local network on disk: which files make it up, which nodes it has, where they listen.

`testnet.json` is the marker: it is written last, so a folder that holds it holds a whole network.
Only facts about files and ports live here; making them is for provision.py, running for
supervisor.py.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from node.chain.membership import faults_tolerated, quorum_size
from node.errors import ConfigError
from node.storage.filesystem import sync_path

TOPOLOGY_FILE: Final = "testnet.json"
GENESIS_FILE: Final = "genesis.cbor"
SECRET_FILE: Final = "secret.key"  # noqa: S105 - a file name
CA_BUNDLE_FILE: Final = "ca-bundle.pem"

PORTS_PER_NODE: Final = 4
_PORT_FIRST: Final = 17_100  # below the range from which Linux draws ports of outgoing connections
_PORT_LAST: Final = 32_767
_CLAIMS_MAX: Final = 256
"""Ports one process keeps from others' searches, each by an open socket."""
_VERSION: Final = 1


class NodePorts(NamedTuple):
    """Where one node listens; the names are those of `NodeEntry`."""

    peer_port: int
    client_port: int
    metrics_port: int
    http_port: int


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One validator of the network."""

    id: str
    organisation: str
    host: str
    """IP address it listens on."""
    peer_port: int
    client_port: int
    metrics_port: int
    http_port: int
    home: str
    """Folder, relative to the network's."""
    is_member: bool = True
    """Whether it is a validator; a node that is to join follows the chain until it is."""

    @property
    def ports(self) -> NodePorts:
        """Return all its ports."""
        return NodePorts(self.peer_port, self.client_port, self.metrics_port, self.http_port)


class Topology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `testnet.json`."""

    version: int
    name: str
    chain_id: str
    """64 hexadecimal digits."""
    suite: str
    created_ms: int
    nodes: tuple[NodeEntry, ...]

    @property
    def members(self) -> tuple[NodeEntry, ...]:
        """Return the validators; the other nodes follow."""
        return tuple(node for node in self.nodes if node.is_member)

    def find(self, node_id: str) -> NodeEntry | None:
        """Return the node of this id, or None."""
        return next((node for node in self.nodes if node.id == node_id), None)

    @property
    def faults(self) -> int:
        """Return f, the number of faulty validators the network tolerates."""
        return faults_tolerated(len(self.members))

    @property
    def quorum(self) -> int:
        """Return q, the number of validators that must run for the chain to go on."""
        return quorum_size(len(self.members))

    def encode(self) -> bytes:
        """Return the bytes of the file, readable by people."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def load(cls, home: Path) -> Topology:
        """Read the network in `home`; raises `ConfigError` saying what is there instead."""
        path = home / TOPOLOGY_FILE
        try:
            topology = msgspec.json.decode(path.read_bytes(), type=cls)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _no_network(home) from error
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(
                f"{path}: {error}",
                code="GC-2102",
                fix="restore the file from a backup, or name another folder with --home",
            ) from error
        if topology.version != _VERSION or not topology.nodes:
            raise ConfigError(
                f"{path}: expected version {_VERSION} with at least one node, got version "
                f"{topology.version} with {len(topology.nodes)}",
                code="GC-2102",
                fix="use the version of govchain that made this network",
            )
        return topology


def is_network(home: Path) -> bool:
    """Tell whether `home` holds a network, whole by construction."""
    return (home / TOPOLOGY_FILE).is_file()


def advise_destroying(home: Path) -> str:
    """Return the end of a fix that frees a network's folder. Nothing else is to be removed."""
    return f", or give up this network, keys and chain: govchain testnet destroy --home {home}"


def is_vacant(home: Path) -> bool:
    """Tell whether a network may be made in `home`: nothing is there, or an empty folder."""
    if home.is_symlink() or not home.is_dir():
        return not os.path.lexists(home)
    return not any(home.iterdir())


def write_file(path: Path, data: bytes, *, mode: int = 0o644, sync_name: bool = True) -> None:
    """Write a file durably and at once: a reader finds the old content or the new, never a part.

    Who writes many files of one folder may leave the names for one `sync_folder` at the end.
    """
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if sync_name:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    sync_path(folder)


@contextmanager
def lock_folder(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the one right to change what is in `folder`; the system gives it back if we die.

    Raises `ConfigError` when another process holds it and `wait` is false.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    except BlockingIOError as error:
        raise ConfigError(
            f"{folder}: another command is changing this network",
            code="GC-2105",
            fix="wait until it has finished, then try again",
        ) from error
    finally:
        os.close(descriptor)


def is_port_free(host: str, port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with ExitStack() as stack:
        return _reserve(host, port, stack)


def find_free_ports(host: str, count: int, *, spare: Collection[int] = ()) -> tuple[int, ...]:
    """Return `count` ports free at this moment, none of them in `spare`, or raise `ConfigError`.

    Nobody else who calls this on the machine is given them, or tries whether they are free, while
    this process lives: whom they are for can be started in peace, and again after a crash. Only the
    last `_CLAIMS_MAX` are kept so. The search begins at random, as those who look hardly ever meet.
    """
    found: list[int] = []
    ports = range(_PORT_FIRST, _PORT_LAST + 1)
    first = secrets.randbelow(len(ports))
    with ExitStack() as stack:
        for port in (*ports[first:], *ports[:first]):
            if port not in spare and (claim := _claim(port)) is not None:
                if _reserve(host, port, stack):
                    found.append(port)
                    _keep(claim)
                else:
                    claim.close()
            if len(found) == count:
                return tuple(found)
    raise ConfigError(
        f"expected {count} free ports on {host} in {_PORT_FIRST}..{_PORT_LAST}, got {len(found)}",
        code="GC-2104",
        fix=f"check that {host} is an address of this machine, or stop what holds its ports",
    )


def split_ports(ports: Sequence[int]) -> Iterator[NodePorts]:
    """Yield the ports of each node."""
    for first in range(0, len(ports), PORTS_PER_NODE):
        yield NodePorts(*ports[first : first + PORTS_PER_NODE])


_claims: deque[int] = deque()
"""Descriptors: closed by the system when this process ends, if not before."""


def _keep(claim: socket.socket) -> None:
    if len(_claims) == _CLAIMS_MAX:
        os.close(_claims.popleft())
    _claims.append(claim.detach())


def _claim(port: int) -> socket.socket | None:
    """Return what keeps a port from others' searches until it is closed; None: it is kept already.

    A name of the kernel's, not a file: it lies in the same network namespace as the port, and is
    given back however its holder ends (unix(7), abstract sockets).
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0govchain-port-{port}")
    except OSError:
        claim.close()
        return None
    return claim


def _reserve(host: str, port: int, stack: ExitStack) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((host, port))
        holder.listen(1)
    except OSError:
        holder.close()
        return False
    stack.enter_context(holder)
    return True


def _no_network(home: Path) -> ConfigError:
    if is_vacant(home):
        return ConfigError(
            f"{home}: no network here",
            code="GC-2101",
            fix=f"make one: govchain testnet up --home {home}",
        )
    return ConfigError(
        f"{home}: exists, but is no whole network: {TOPOLOGY_FILE} is missing",
        code="GC-2102",
        fix="look into it, or name another folder with --home",
    )
