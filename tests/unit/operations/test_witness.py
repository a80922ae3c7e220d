"""A witness over loopback HTTP: what it cosigns, what it refuses, and a fork that it proves."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node.chain.membership import ValidatorSet
from node.chain.merkle import consistency_path, leaf_hash
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.errors import ConfigError, CryptoError, NodeError, ProofError, StorageError
from node.operations.log_reader import LogReader, SourceError
from node.operations.witness import LogWitness, Seen, Sight
from node.operations.witness_home import (
    KEY_FILE,
    LOGS_FOLDER,
    SECRET_FILE,
    Witness,
    follow_log,
    make_witness,
    read_settings,
)
from node.timestamp.log.fork import ForkProof, cosigners
from node.timestamp.log.note import Note, VerifierKey
from node.web import log_files, witnessing
from tests.unit.operations.served_log import ServedLog
from tests.unit.web.http_client import HOST, Reply, ask, serving
from tests.vectors.receipt.chain import SUITE, Chain, record_of, validator_set
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned

NAME = "witness.example/w1"


def grow(chain: Chain, content: str, next_set: ValidatorSet | None = None) -> Chain:
    """Append a block of four leaves."""
    height = len(chain.blocks)
    records = [record_of(f"{content} {height} {at}".encode()) for at in range(3)]
    chain.append(*records, next_set=next_set)
    return chain


def start_chain() -> Chain:
    return grow(grow(Chain.found(), "common"), "common")


@asynccontextmanager
async def served(log: ServedLog) -> AsyncIterator[str]:
    async with serving(log_files.routes(log)) as found:
        yield f"http://{HOST}:{found.port}"


def make_home(home: Path, chain: Chain, *urls: str) -> Witness:
    make_witness(home, NAME, None)
    follow_log(home, chain.trust().encode(), urls or ("http://127.0.0.1:1",))
    return Witness(home, read_settings(home))


async def look(witness: Witness) -> list[Sight | NodeError]:
    """Have it look at all of its logs, once."""
    sights: list[Sight | NodeError] = []
    await asyncio.to_thread(witness.look_around, lambda _reader, _log, sight: sights.append(sight))
    return sights


def seen(sights: list[Sight | NodeError]) -> list[Seen | str]:
    return [each.seen if isinstance(each, Sight) else str(each) for each in sights]


# --- Following ---


async def test_it_cosigns_what_grows_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    chain = start_chain()
    log = ServedLog(chain)
    async with served(log) as url:
        witness = make_home(tmp_path / "w", chain, url)
        assert seen(await look(witness)) == [Seen.COSIGNED]
        assert seen(await look(witness)) == [Seen.SAME]
        for _ in range(90):  # over the edge of a tile
            grow(chain, "more")
        assert seen(await look(witness)) == [Seen.COSIGNED]
        again = Witness(tmp_path / "w", read_settings(tmp_path / "w"))
        assert seen(await look(again)) == [Seen.SAME]
        grow(chain, "more")
        assert seen(await look(again)) == [Seen.COSIGNED]
    (followed,) = again.followed
    assert followed.witness.cosigned is not None
    note = Note.decode(followed.witness.cosigned)
    (line,) = note.signed_by([again.key])
    assert line.time_s is not None
    assert note.text == checkpoint_at(chain, len(chain.leaves)).text


async def test_a_node_that_is_behind_is_no_fork(tmp_path: Path) -> None:
    chain = start_chain()
    ahead, behind = ServedLog(chain), ServedLog(chain, size=4)
    async with served(ahead) as url, served(behind) as other:
        witness = make_home(tmp_path / "w", chain, url, other)
        assert seen(await look(witness)) == [Seen.COSIGNED, Seen.OLDER]


async def test_it_follows_from_epoch_to_epoch(tmp_path: Path) -> None:
    chain = start_chain()
    log = ServedLog(chain)
    async with served(log) as url:
        witness = make_home(tmp_path / "w", chain, url)
        await look(witness)
        grow(chain, "last", next_set=validator_set(1, (2, 3, 4, 5)))
        grow(chain, "first")
        assert seen(await look(witness)) == [Seen.COSIGNED]
        again = Witness(tmp_path / "w", read_settings(tmp_path / "w"))
        assert [held.epoch for held in again.followed[0].witness.sets] == [0, 1]
        assert seen(await look(again)) == [Seen.SAME]
        retired = start_chain()
        for _ in range(5):
            grow(retired, "by the keys of the epoch before")
        log.chain = retired
        (refused,) = seen(await look(again))
        assert isinstance(refused, str)
        assert "policy-" in refused
        assert not again.followed[0].witness.forks


async def test_it_cosigns_nothing_without_a_quorum_or_with_other_tiles(tmp_path: Path) -> None:
    chain = start_chain()
    log = ServedLog(chain, voters=(0, 1))
    async with served(log) as url:
        witness = make_home(tmp_path / "w", chain, url)
        (refused,) = await look(witness)
        assert isinstance(refused, ProofError)
        assert refused.rule == "policy-quorum"
        log.voters = (0, 1, 2)
        await look(witness)
        grow(chain, "more")
        log.hidden.add("tile")
        (hidden,) = await look(witness)
        assert isinstance(hidden, SourceError)
        log.hidden.clear()
        false = start_chain()
        grow(false, "other")
        true_checkpoint = await log.checkpoint(None)

        class Lying(ServedLog):
            async def checkpoint(self, size: int | None) -> bytes | None:
                return true_checkpoint if size is None else None

        async with served(Lying(false)) as elsewhere:
            reader = LogReader(elsewhere)
            mine = witness.followed[0].witness
            with pytest.raises(ProofError, match="fork-tiles"):
                await asyncio.to_thread(
                    mine.look, await asyncio.to_thread(reader.checkpoint), reader
                )


async def test_a_source_that_is_none_is_told_of(tmp_path: Path) -> None:
    witness = make_home(tmp_path / "w", start_chain())
    (unreachable,) = await look(witness)
    assert isinstance(unreachable, SourceError)
    assert unreachable.code == "GC-2361"
    for url in ("file:///etc/passwd", "http://", "log.example", "http://h/?q"):
        with pytest.raises(ConfigError):
            LogReader(url)


# --- Forks ---


async def test_two_logs_of_the_same_keys_are_a_fork_that_names_the_guilty(tmp_path: Path) -> None:
    """The same validators show one log to some and another to others."""
    honest, forked = start_chain(), start_chain()
    grow(grow(honest, "honest"), "honest")
    grow(grow(grow(forked, "forked"), "forked"), "forked")
    shown, other = ServedLog(honest, voters=(0, 1, 2)), ServedLog(forked, voters=(1, 2, 3))
    async with served(shown) as url, served(other) as elsewhere:
        witness = make_home(tmp_path / "w", honest, url, elsewhere)
        sights = await look(witness)
        assert seen(sights) == [Seen.COSIGNED, Seen.FORK]
        fork = sights[1]
        assert isinstance(fork, Sight)
        assert fork.proof is not None
        grow(honest, "more")
        stopped = seen(await look(witness))  # whoever runs it has to look first
        assert "witness-fork" in str(stopped[0])
        assert stopped[1] is Seen.FORK
        assert witness.followed[0].witness.forks
    proof = ForkProof.decode(fork.proof.read_bytes())
    small, large = proof.check()
    assert (small.head.size, large.head.size) == (16, 20)
    guilty = proof.guilty(cosigners(honest.genesis.chain_id, [honest.validators]))
    assert [name.rpartition("/")[2] for name in guilty] == ["validator-2", "validator-3"]


async def test_a_fork_of_one_size_and_one_behind_are_found_too(tmp_path: Path) -> None:
    honest, forked = start_chain(), start_chain()
    grow(grow(honest, "honest"), "honest")
    grow(forked, "forked")
    async with served(ServedLog(honest)) as url:
        log = ServedLog(forked)
        async with served(log) as elsewhere:
            witness = make_home(tmp_path / "w", honest, url, elsewhere)
            behind = seen(await look(witness))
            assert behind[0] is Seen.COSIGNED
            assert "there is no such file" in str(behind[1])  # it has not the tiles of the larger
            grow(forked, "forked")
            assert seen(await look(witness))[1] is Seen.FORK


# --- The protocol for witnesses ---


def request(chain: Chain, old: int, size: int, voters: tuple[int, ...] = (0, 1, 2)) -> bytes:
    hashes = [leaf_hash(leaf, SUITE.hash) for leaf in chain.leaves[:size]]
    path = consistency_path(hashes, old, SUITE.hash) if old else []
    lines = [f"old {old}", *(base64.b64encode(each).decode() for each in path), ""]
    note = cosigned(checkpoint_at(chain, size), chain.validators, voters)
    return "".join(f"{line}\n" for line in lines).encode() + note.encode()


async def test_the_protocol_is_answered_as_its_page_says(tmp_path: Path) -> None:
    chain = start_chain()
    grow(grow(chain, "more"), "more")
    witness = make_home(tmp_path / "w", chain)

    async def add(body: bytes) -> witnessing.Answered:
        return witness.answer(body)

    async def newest(chain_id: str) -> bytes | None:
        return witness.cosigned(chain_id)

    async with serving(witnessing.routes(add, newest)) as found:

        async def post(body: bytes) -> Reply:
            return await ask(found.port, "/add-checkpoint", method="POST", body=body)

        path = f"/logs/{chain.genesis.chain_id.hex()}/checkpoint"
        assert (await ask(found.port, path)).status == 404
        first = await post(request(chain, 0, 5))
        assert first.status == 200
        note = cosigned(checkpoint_at(chain, 5), chain.validators).encode() + first.body
        assert Note.decode(note).signed_by([witness.key])
        assert (await post(request(chain, 5, 16))).status == 200
        assert (await post(request(chain, 16, 16))).status == 200
        stale = await post(request(chain, 5, 16))
        assert (stale.status, stale.body) == (409, b"16\n")
        assert stale.headers["content-type"].startswith("text/x.tlog.size")
        unknown = Chain.found("unknown")
        grow(unknown, "x")
        assert (await post(request(unknown, 0, 4))).status == 404
        assert (await post(request(chain, 16, 16, (0, 1)))).status == 403
        grow(chain, "even more")
        good = request(chain, 16, 20)
        assert (await post(good.replace(b"old 16", b"old 21"))).status == 400
        assert (await post(good.replace(b"old 16", b"old 016"))).status == 400
        assert (await post(b"old 0\n")).status == 400
        assert (await post(bytes(200_000))).status == 413
        lines = good.split(b"\n")
        false = b"\n".join([lines[0], base64.b64encode(bytes(32)), *lines[2:]])
        assert (await post(false)).status == 422
        assert (await post(good)).status == 200
        reply = await ask(found.port, path)
        assert reply.body == witness.followed[0].witness.cosigned
        other = start_chain()
        for _ in range(3):
            grow(other, "forked")
        fork = await post(request(other, 20, 20))
        assert (fork.status, fork.body) == (409, b"20\n")
        assert len(witness.followed[0].witness.forks) == 1
        assert (await post(good)).status == 403  # nothing more of a forked log
        assert not found.failures


# --- The folder ---


def test_a_home_is_made_once_and_its_key_is_a_witness_key_alone(tmp_path: Path) -> None:
    home = tmp_path / "w"
    key = make_witness(home, NAME, None)
    assert VerifierKey.parse(str(key)) == key
    with pytest.raises(ConfigError, match="not empty"):
        make_witness(home, NAME, None)
    secret = KeyFileSecret.load(home / SECRET_FILE)
    with pytest.raises(CryptoError):
        load_signer(home / KEY_FILE, secret, KeyPurpose.COSIGNATURE)
    chain = start_chain()
    chain_id = follow_log(home, chain.trust().encode(), ["http://127.0.0.1:1/"])
    with pytest.raises(ConfigError, match="there already"):
        follow_log(home, chain.trust().encode(), ["http://127.0.0.1:1"])
    assert (home / LOGS_FOLDER / chain_id / "urls").read_text() == "http://127.0.0.1:1\n"


def test_what_was_cosigned_cannot_be_lost_unnoticed(tmp_path: Path) -> None:
    chain = start_chain()
    witness = make_home(tmp_path / "w", chain).followed[0].witness
    assert (
        witness.add_checkpoint(0, (), cosigned(checkpoint_at(chain, 5), chain.validators)).status
        == 200
    )
    folder = tmp_path / "w" / LOGS_FOLDER / chain.genesis.chain_id.hex()
    path = folder / "cosigned.note"
    damaged = path.read_bytes().replace(b"\n5\n", b"\n4\n")
    path.write_bytes(damaged)
    with pytest.raises(ProofError):
        Witness(tmp_path / "w", read_settings(tmp_path / "w"))
    path.unlink()
    (folder / "trust.json").unlink()
    (folder / "trust.json").mkdir()
    secret = KeyFileSecret.load(tmp_path / "w" / SECRET_FILE)
    signer = load_signer(tmp_path / "w" / KEY_FILE, secret, KeyPurpose.WITNESS)
    with pytest.raises(StorageError):
        LogWitness(folder, NAME, signer, lambda: 0)
