"""The vault of a node in a bucket of S3: put, got, gone on with, mended, shredded, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from tests.network.test_vault import (
    MIB,
    OWN_NODE,
    OWNER,
    READER,
    READER_NODE,
    ask,
    begin_put_and_kill,
    get,
    held,
    put,
    until,
    vault,
    written,
)
from tests.unit.cli.command import run
from tests.unit.storage.s3_server import S3Server, s3_server


@dataclass(frozen=True)
class Place:
    """A network whose first node keeps its vault in a bucket."""

    home: Path
    server: S3Server
    bucket: str

    def objects(self, document: str) -> list[str]:
        """Return the names of what lies there of a document, behind its id."""
        folder = f"vault/{document}/"
        return [key for key in self.server.keys(self.bucket) if key.startswith(folder)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("s3") / "net"
    with s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        bucket = server.make_bucket()
        assert run("testnet", "init", "--home", home, "--json").code == 0
        settings = home / "nodes" / OWN_NODE / "node.toml"
        settings.write_text(f'vault.url = "s3://{bucket}/vault"\n{settings.read_text()}')
        assert run("testnet", "up", "--home", home, "--json").code == 0
        for name in (OWNER, READER):
            vault(home, "key", identity=name)
        yield Place(home, server, bucket)
        run("testnet", "down", "--home", home)


def test_content_goes_into_the_bucket_and_comes_back(place: Place, tmp_path: Path) -> None:
    path = written(tmp_path, 2 * MIB + 7)
    document = put(place.home, path, "org-2")
    assert len(place.objects(document)) == 3 + 1 + 2  # chunks, their list, wrapped keys
    assert get(place.home, document, tmp_path / "own", OWNER) == path.read_bytes()
    until(lambda: sum(map(len, held(place.home, READER_NODE, document).values())) == 5, "a copy")
    assert get(place.home, document, tmp_path / "got", READER) == path.read_bytes()
    assert not (place.home / "nodes" / OWN_NODE / "vault").exists()
    assert path.read_bytes()[:32] not in b"".join(
        place.server.read(place.bucket, key) for key in place.objects(document)
    )


def test_a_put_that_was_killed_goes_on_in_the_bucket(place: Place, tmp_path: Path) -> None:
    path = written(tmp_path, 24 * MIB)
    journal = begin_put_and_kill(place.home, path)
    assert journal.stat().st_size < 24 * 32, "it was not over"
    document = put(place.home, path, "org-2")
    assert len(place.objects(document)) == 24 + 1 + 2
    assert get(place.home, document, tmp_path / "got", OWNER) == path.read_bytes()


def test_a_flipped_byte_in_the_bucket_is_named_and_fetched_anew(
    place: Place, tmp_path: Path
) -> None:
    path = written(tmp_path, MIB + 9)
    document = put(place.home, path, "org-2")
    until(lambda: sum(map(len, held(place.home, READER_NODE, document).values())) == 4, "a copy")
    chunk = max(place.objects(document), key=lambda key: len(place.server.read(place.bucket, key)))
    data = bytearray(place.server.read(place.bucket, chunk))
    data[len(data) // 2] ^= 1
    place.server.write(place.bucket, chunk, bytes(data))
    checked = ask(place.home, "check", document)
    assert checked.code != 0
    (own,) = [each for each in checked.json["checks"] if each["node"] == OWN_NODE]
    assert [each["object"] for each in own["faults"]] == [chunk.rsplit("/", 1)[-1]]
    until(lambda: ask(place.home, "check", document).code == 0, "fetched from the other node")
    assert get(place.home, document, tmp_path / "got", OWNER) == path.read_bytes()


def test_what_is_shredded_is_gone_from_the_bucket(place: Place, tmp_path: Path) -> None:
    document = put(place.home, written(tmp_path, MIB + 1), "org-2")
    kept = put(place.home, written(tmp_path, 100), "org-2")
    before = place.objects(kept)
    assert place.objects(document)
    vault(place.home, "shred", document, "--yes")
    until(lambda: place.objects(document) == [], "gone from the bucket")
    assert place.objects(kept) == before
    late = ask(place.home, "get", document, "--out", tmp_path / "no")
    assert late.json["error"]["code"] == "GC-2604"


def test_a_bucket_that_refuses_is_told_with_what_helps_and_no_secret(
    place: Place, tmp_path: Path
) -> None:
    place.server.forbid(place.bucket, "s3:PutObject")
    try:
        ran = ask(place.home, "put", written(tmp_path, 100), "--to", "org-2")
    finally:
        place.server.owner.delete_bucket_policy(Bucket=place.bucket)
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.UNAVAILABLE, "GC-2602")
    assert "PermissionError" in ran.json["error"]["message"]
    assert "vault.url" in ran.json["error"]["fix"]
    logs = b"".join(path.read_bytes() for path in (place.home / "nodes").rglob("*.log"))
    assert b"vault-store-refused" in logs, "the operator is told"
    assert place.server.secret.encode() not in logs
    assert place.server.secret not in ran.out + ran.err
