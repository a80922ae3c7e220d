"""Who asks a node for what of the vault, beside the command: refused by what the state says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from node.chain.genesis import Role
from node.chain.merkle import leaf_hash
from node.cli.network import Network
from node.cli.vault.chain import VaultDesk
from node.crypto.envelope import SEALED_CHUNK_BYTES_MAX
from node.crypto.keystore import KeyFileSecret, load_tls_key_pem
from node.errors import ClientError
from node.operations.equipment import Outfitter
from node.operations.newcomer import ORGANISATIONS_FOLDER
from node.operations.topology import SECRET_FILE
from node.rpc.client import LedgerClient
from node.rpc.connection import LedgerEndpoint
from node.rpc.identity import AccessError, TlsIdentity, channel_credentials
from node.rpc.pb import vault_pb2 as pb
from node.rpc.pb.vault_pb2_grpc import VaultPeerStub
from node.rpc.vault_client import VaultClient
from node.service.home import TLS_FILE, TLS_KEY_FILE
from tests.network.local_network import LocalNetwork, utc_ms
from tests.network.test_vault import OTHER, OWN_NODE, OWNER, READER, held, put, until, vault
from tests.unit.cli.command import run

NOBODYS = bytes(16)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("access") / "net"
    # A store that fsspec reaches, at the owner's node, in the place of its home.
    made = run("testnet", "init", "--home", folder, "--json")
    assert made.code == 0, made.out
    settings = folder / "nodes" / OWN_NODE / "node.toml"
    url = f"file://{folder}/elsewhere"
    settings.write_text(f'vault.url = "{url}"\n{settings.read_text()}')
    assert run("testnet", "up", "--home", folder, "--json").code == 0
    for name in (OWNER, READER, OTHER):
        vault(folder, "key", identity=name)
    yield folder
    run("testnet", "down", "--home", folder)


@pytest.fixture(scope="module")
def document(home: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("document") / "document.bin"
    path.write_bytes(os.urandom(2_500_000))
    document_id = put(home, path, "org-2")
    until(lambda: len(held(home, "validator-2", document_id).get("1", [])) == 5, "a copy")
    out = path.with_name("got")
    vault(home, "get", document_id, "--out", out, identity=READER)
    assert out.read_bytes() == path.read_bytes(), "through the store that fsspec reaches"
    return bytes.fromhex(document_id)


@asynccontextmanager
async def client_of(home: Path, identity: str) -> AsyncIterator[VaultClient]:
    async with Network.open(home, None, identity).client() as client:
        yield VaultClient(client)


def objects_of(home: Path, document: bytes) -> list[bytes]:
    folder = home / "elsewhere" / document.hex() / "1"
    return [bytes.fromhex(each.name) for each in sorted(folder.iterdir())]


def test_a_store_elsewhere_keeps_what_the_home_would(home: Path, document: bytes) -> None:
    assert len(objects_of(home, document)) == 6
    assert not (home / "nodes" / OWN_NODE / "vault").exists()
    (report,) = vault(home, "check", document.hex())["checks"]
    assert (report["objects"], report["sound"], report["faults"]) == (6, 6, [])


@pytest.mark.parametrize("identity", [READER, OTHER, "admin-1"])
async def test_a_node_keeps_what_its_own_agencies_put_and_nothing_else(
    home: Path, document: bytes, identity: str
) -> None:
    async with client_of(home, identity) as asking:
        for document_id in (document, os.urandom(16)):
            with pytest.raises(AccessError, match="keeps what agencies of 'org-1' put"):
                await asking.put(OWN_NODE, document_id, 1, [b"content"])
        with pytest.raises(AccessError):
            await asking.held(OWN_NODE, document, 1, [bytes(32)])


async def test_who_has_no_grant_gets_no_object(home: Path, document: bytes) -> None:
    for object_id in objects_of(home, document):
        async with client_of(home, OTHER) as asking:
            with pytest.raises(AccessError, match="is not granted to 'admin-3'"):
                await drain(asking, document, [object_id])


async def drain(asking: VaultClient, document: bytes, ids: list[bytes]) -> list[bytes]:
    return [found async for found in asking.objects(OWN_NODE, document, 1, ids)]


async def test_a_recipient_gets_its_own_wrapped_key_and_no_other(
    home: Path, document: bytes
) -> None:
    desk = VaultDesk(Network.open(home, None, READER))
    known = await asyncio.to_thread(desk.find, document)
    wraps = {grant.wrap.recipient: grant.wrap.digest for grant in known.document.grants}
    async with client_of(home, READER) as asking:
        (own,) = await drain(asking, document, [wraps[READER]])
        assert leaf_hash(own, desk.network.suite.hash) == wraps[READER]
        with pytest.raises(ClientError) as raised:
            await drain(asking, document, [wraps[OWNER]])
    assert raised.value.code == "GC-2601"


async def test_the_authority_of_another_organisation_names_no_recipient(
    home: Path, document: bytes, tmp_path: Path
) -> None:
    network, secret = LocalNetwork(home), KeyFileSecret.load(home / SECRET_FILE)
    outfitter = Outfitter(network.genesis.suite, secret, utc_ms())
    authority = outfitter.load_authority(home / ORGANISATIONS_FOLDER / "org-3")
    outfitter.renew_client(tmp_path / "posing", READER, Role.ADMIN, authority)
    tls = TlsIdentity(
        (tmp_path / "posing" / "client.pem").read_bytes(),
        load_tls_key_pem(tmp_path / "posing" / "tls.key", secret),
    )
    (entry,) = (entry for entry in network.entries if entry.id == OWN_NODE)
    endpoint = LedgerEndpoint(entry.id, f"{entry.host}:{entry.client_port}")
    roots = (home / "ca-bundle.pem").read_bytes()
    chain_id = network.genesis.chain_id
    async with LedgerClient([endpoint], tls=tls, roots_pem=roots, chain_id=chain_id) as client:
        with pytest.raises(AccessError, match="'admin-2' is of 'org-2'"):
            await drain(VaultClient(client), document, objects_of(home, document)[:1])


async def test_who_is_revoked_while_it_reads_gets_no_more(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "document.bin"
    path.write_bytes(os.urandom(1_500_000))
    document_id = await asyncio.to_thread(put, home, path, "org-2")
    document, times = bytes.fromhex(document_id), 200
    desk = VaultDesk(Network.open(home, None, READER))
    known = await asyncio.to_thread(desk.find, document)
    sizes = {
        each: (home / "elsewhere" / document_id / "1" / each.hex()).stat().st_size
        for each in objects_of(home, document)
    }
    chunk = max(sizes, key=lambda each: sizes[each])
    assert known.document.grant_of(READER) is not None
    async with (
        client_of(home, READER) as asking,
        aclosing(asking.objects(OWN_NODE, document, 1, [chunk] * times)) as found,
    ):
        assert len(await anext(found)) == sizes[chunk]
        await asyncio.to_thread(vault, home, "revoke", document_id, "--from", READER)
        with pytest.raises(AccessError, match="is not granted to 'admin-2'"):
            await all_of(found)


async def all_of(found: AsyncIterator[bytes]) -> list[bytes]:
    return [each async for each in found]


async def test_requests_out_of_bounds_are_refused(home: Path, document: bytes) -> None:
    async with client_of(home, OWNER) as asking:
        wrong: list[Callable[[], Awaitable[object]]] = [
            lambda: asking.put(OWN_NODE, document[:-1], 1, [b"content"]),
            lambda: asking.put(OWN_NODE, document, 0, [b"content"]),
            lambda: asking.put(OWN_NODE, document, 3, [b"content"]),
            lambda: asking.put(OWN_NODE, NOBODYS, 2, [b"content"]),
            lambda: asking.put(OWN_NODE, document, 1, [bytes(SEALED_CHUNK_BYTES_MAX + 1)]),
            lambda: asking.put(OWN_NODE, document, 1, [bytes(SEALED_CHUNK_BYTES_MAX)] * 3),
            lambda: asking.put(OWN_NODE, document, 1, [], chunk_list=bytes(33)),
            lambda: drain(asking, document, [bytes(31)]),
            lambda: drain(asking, document, []),
            lambda: drain(asking, document, [bytes(32)] * 4_097),
            lambda: drain(asking, NOBODYS, [bytes(32)]),
        ]
        for number, attempt in enumerate(wrong):
            with pytest.raises(ClientError) as raised:
                await attempt()
            assert raised.value.code in ("GC-2001", "GC-2601"), (number, raised.value)
    checked = await asyncio.to_thread(vault, home, "check", document.hex())
    assert checked["checks"][0]["sound"] == 6


async def test_uploads_that_nothing_commits_to_are_bounded(home: Path) -> None:
    async with client_of(home, OWNER) as asking:
        for _begun in range(64):
            await asking.put(OWN_NODE, os.urandom(16), 1, [b"content"])
        with pytest.raises(ClientError, match="64 documents were begun") as raised:
            await asking.put(OWN_NODE, os.urandom(16), 1, [b"content"])
    assert raised.value.code == "GC-2602"


async def test_a_node_of_an_organisation_without_a_grant_gets_nothing(
    home: Path, document: bytes
) -> None:
    ids = objects_of(home, document)
    assert await ask_as_node(home, "validator-2", document, ids) == len(ids) - 1, "not the owner's"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask_as_node(home, "validator-3", document, ids)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def ask_as_node(home: Path, node_id: str, document: bytes, ids: list[bytes]) -> int:
    """Ask the owner's node as another; return how many objects it gave."""
    network = LocalNetwork(home)
    (entry,) = (entry for entry in network.entries if entry.id == OWN_NODE)
    folder = home / "nodes" / node_id
    secret = KeyFileSecret.load(home / SECRET_FILE)
    tls = TlsIdentity(
        (folder / TLS_FILE).read_bytes(), load_tls_key_pem(folder / TLS_KEY_FILE, secret)
    )
    credentials = channel_credentials(tls, (home / "ca-bundle.pem").read_bytes())
    options = (("grpc.ssl_target_name_override", OWN_NODE),)
    address = f"{entry.host}:{entry.peer_port}"
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        request = pb.GetObjectsRequest(document_id=document, version=1, object_ids=ids)
        found = [each.data async for each in VaultPeerStub(channel).GetObjects(request)]
    assert len(found) == len(ids)
    return sum(bool(each) for each in found)
