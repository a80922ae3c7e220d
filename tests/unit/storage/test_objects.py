"""All stores keep one contract: whole objects, durable, under names that lead nowhere else."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import socket
import time
import traceback
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.crypto.suite import INTERNATIONAL
from node.errors import ConfigError
from node.storage import filesystem, objects
from node.storage.objects import (
    FREE_BYTES_LEAST,
    DirectoryObjects,
    ObjectStore,
    ObjectStoreError,
)
from node.storage.url_objects import UrlObjects
from node.storage.vault_holdings import (
    FaultKind,
    Holdings,
    ObjectDamaged,
    ObjectRole,
    Part,
    PartFault,
)
from tests.unit.storage.s3_server import S3Server, s3_server

NAME = f"{'0a' * 16}/1/{'ff' * 32}"
FOLDER = NAME.rsplit("/", 1)[0]
ROOM = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Tell this process where the server is, and as whom to ask."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(params=["directory", "memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    match request.param:
        case "directory":
            return DirectoryObjects(tmp_path / "vault", ROOM)
        case "memory":
            return UrlObjects(f"memory://{secrets.token_hex(4)}")
        case "file":
            return UrlObjects(f"file://{tmp_path}/v")
        case _:
            bucket = request.getfixturevalue("s3").make_bucket()
            return UrlObjects(f"s3://{bucket}/vault")


def test_an_object_is_kept_listed_and_removed(store: ObjectStore) -> None:
    assert store.get(NAME) is None
    assert store.names() == store.names(FOLDER) == []
    store.put(NAME, b"content")
    store.put(NAME, b"content")
    assert store.get(NAME) == b"content"
    assert store.names() == ["0a" * 16]
    assert store.names("0a" * 16) == ["1"]
    assert store.names(FOLDER) == ["ff" * 32]
    store.remove(NAME)
    store.remove(NAME)
    assert store.get(NAME) is None


def test_a_folder_goes_with_all_in_it(store: ObjectStore) -> None:
    store.put(NAME, b"content")
    store.put(f"{'0b' * 16}/2/aa", b"")
    store.remove("0a" * 16)
    assert store.names() == ["0b" * 16]
    assert store.get(f"{'0b' * 16}/2/aa") == b""
    store.remove("0c" * 16)


def test_it_is_known_how_long_nothing_came_to_a_folder(store: ObjectStore) -> None:
    store.put(NAME, b"content")
    now_s = int(time.time())
    assert store.age_s(FOLDER, now_s) <= 60
    assert 3_540 <= store.age_s(FOLDER, now_s + 3_600) <= 3_660
    assert store.age_s("0c" * 16, now_s) == 0


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/../b", "/a", "a//b", "a/b/c/d", "A", "x", "a/" + "b" * 65, "a\n"]
)
def test_a_name_that_leads_elsewhere_is_refused(store: ObjectStore, name: str) -> None:
    for attempt in (store.get, store.remove, lambda each: store.put(each, b"content")):
        with pytest.raises(ObjectStoreError, match="object name"):
            attempt(name)


def test_files_are_their_owners_alone_and_nothing_half_is_left(tmp_path: Path) -> None:
    store = DirectoryObjects(tmp_path / "vault", ROOM)
    store.put(NAME, b"content")
    (file,) = (each for each in (tmp_path / "vault").rglob("*") if each.is_file())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    (file.parent / ".torn").write_bytes(b"what a crash left")
    assert store.names(FOLDER) == ["ff" * 32]


def test_each_object_is_synced_with_its_name_and_those_of_new_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[object] = []
    fdatasync, sync_path = os.fdatasync, filesystem.sync_path

    def note_file(descriptor: int) -> None:
        synced.append("file")
        fdatasync(descriptor)

    def note_folder(folder: Path) -> None:
        synced.append(folder)
        sync_path(folder)

    monkeypatch.setattr(os, "fdatasync", note_file)
    monkeypatch.setattr(objects, "sync_path", note_folder)
    store, root = DirectoryObjects(tmp_path / "vault", ROOM), tmp_path / "vault"
    store.put(NAME, b"content")
    folder = root / FOLDER
    new_names = frozenset((root, root.parent, folder.parent))
    assert (synced[-2:], frozenset(synced[:-2])) == (["file", folder], new_names)
    synced.clear()
    store.put(f"{FOLDER}/{'ee' * 32}", b"another")
    assert synced == ["file", folder]
    synced.clear()
    store.put(NAME, b"content")
    assert synced == [folder], "who put it may have died before its name was durable"


def test_room_is_bounded_and_counted_again_after_a_restart(tmp_path: Path) -> None:
    store = DirectoryObjects(tmp_path / "vault", 10)
    store.put("aa", b"12345")
    with pytest.raises(ObjectStoreError, match="holds 5 bytes, of 10 allowed"):
        store.put("bb", b"123456")
    again = DirectoryObjects(tmp_path / "vault", 10)
    with pytest.raises(ObjectStoreError, match="holds 5 bytes, of 10 allowed"):
        again.put("bb", b"123456")
    again.remove("aa")
    again.put("bb", b"123456")


def test_a_disk_with_no_room_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's own
    free = usage(2 * FREE_BYTES_LEAST, FREE_BYTES_LEAST, FREE_BYTES_LEAST)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    with pytest.raises(ObjectStoreError, match="free on its disk"):
        DirectoryObjects(tmp_path / "vault", ROOM).put("aa", b"1")


def test_what_the_disk_refuses_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("a file, where a folder belongs")
    store = DirectoryObjects(tmp_path / "vault", ROOM)
    for attempt in (lambda: store.put("aa", b"1"), lambda: store.get("aa/bb"), store.names):
        with pytest.raises(ObjectStoreError):
            attempt()


def test_a_folder_goes_with_what_others_put_there_since(s3: S3Server) -> None:
    """A listing from before would leave it there."""
    bucket = s3.make_bucket()
    store = UrlObjects(f"s3://{bucket}/vault")
    store.put(NAME, b"content")
    assert store.names(FOLDER) == ["ff" * 32]
    UrlObjects(f"s3://{bucket}/vault").put(f"{FOLDER}/ee", b"later")
    assert store.names(FOLDER) == ["ee", "ff" * 32]
    store.remove("0a" * 16)
    assert s3.keys(bucket) == []


def test_a_bucket_that_is_not_there_is_not_made(s3: S3Server) -> None:
    store = UrlObjects("s3://no-such-bucket/vault")
    for attempt in (
        lambda: store.put(NAME, b"content"),
        lambda: store.get(NAME),
        store.names,
        lambda: store.remove(NAME),
    ):
        with pytest.raises(ObjectStoreError, match="no bucket 'no-such-bucket'") as refused:
            attempt()
        assert "make the bucket" in (refused.value.fix or "")
    named = [each["Name"] for each in s3.owner.list_buckets()["Buckets"]]
    assert "no-such-bucket" not in named


def test_a_bucket_that_keeps_what_is_deleted_takes_nothing(s3: S3Server) -> None:
    bucket = s3.make_bucket(has_versions=True)
    s3.write(bucket, f"vault/{NAME}", b"from before it kept versions")
    store = UrlObjects(f"s3://{bucket}/vault")
    attempts: list[Callable[[], object]] = [
        lambda: store.put(f"{FOLDER}/ee", b""),
        lambda: store.remove(NAME),
    ]
    for attempt in attempts:
        with pytest.raises(ObjectStoreError, match="nothing in it could be destroyed"):
            attempt()
    assert s3.keys(bucket) == [f"vault/{NAME}"]
    assert store.get(NAME) == b"from before it kept versions"


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"])
def test_a_bucket_that_refuses_is_told_by_cause_and_fix(s3: S3Server, action: str) -> None:
    """Deletions too, which the library takes for done: what was not destroyed is not said to be."""
    bucket = s3.make_bucket()
    store = UrlObjects(f"s3://{bucket}/vault")
    store.put(NAME, b"content")
    s3.forbid(bucket, action)
    attempts: dict[str, Callable[[], object]] = {
        "s3:PutObject": lambda: store.put(f"{FOLDER}/ee", b"content"),
        "s3:GetObject": lambda: store.get(NAME),
        "s3:DeleteObject": lambda: store.remove("0a" * 16),
    }
    with pytest.raises(ObjectStoreError) as refused:
        attempts[action]()
    assert f"s3://{bucket}/vault" in str(refused.value)
    assert re.search("PermissionError|are there after they were deleted", str(refused.value))
    assert "read, write, list and delete" in (refused.value.fix or "")
    assert s3.keys(bucket) == [f"vault/{NAME}"]


@pytest.mark.usefixtures("s3")
def test_a_store_that_does_not_answer_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(ObjectStoreError, match=f"127.0.0.1:{port}") as refused:
            UrlObjects("s3://bucket/vault").put(NAME, b"content")
    assert "see that the store answers" in (refused.value.fix or "")


def test_no_secret_of_the_store_is_in_logs_or_errors(
    s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = s3.make_bucket()
    caplog.set_level(logging.DEBUG)
    store = UrlObjects(f"s3://{bucket}/vault")
    store.put(NAME, b"content")
    assert store.get(NAME) == b"content"
    s3.forbid(bucket, "s3:PutObject")
    with pytest.raises(ObjectStoreError) as refused:
        store.put(f"{FOLDER}/ee", b"content")
    assert "botocore" in {record.name.partition(".")[0] for record in caplog.records}
    told = caplog.text + "".join(traceback.format_exception(refused.value))
    assert s3.secret not in told


@pytest.mark.parametrize(
    "url",
    ["s3://AKIA:hunter2@bucket/vault", "sftp://me:hunter2@host/vault", "s3://b/v?secret=hunter2"],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="credentials") as refused:
        UrlObjects(url)
    assert "hunter2" not in f"{refused.value} {refused.value.fix}"


@pytest.mark.parametrize("place", [0, 500, 999])
def test_a_flipped_byte_in_a_bucket_is_named_and_mended(s3: S3Server, place: int) -> None:
    bucket, document = s3.make_bucket(), bytes(16)
    holdings = Holdings(UrlObjects(f"s3://{bucket}/vault"), INTERNATIONAL)
    data = secrets.token_bytes(1_000)
    object_id = holdings.put(document, 1, data)
    (key,) = s3.keys(bucket)
    stored = s3.read(bucket, key)
    assert stored == data
    s3.write(bucket, key, stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
    with pytest.raises(ObjectDamaged, match=object_id.hex()):
        holdings.find(document, 1, object_id)
    part = Part(object_id, ObjectRole.CHUNK)
    assert holdings.check_and_drop(document, 1, part) == PartFault(part, FaultKind.DAMAGED)
    assert s3.keys(bucket) == []
    assert holdings.put(document, 1, data) == object_id
    assert holdings.check(document, 1, part) is None


def test_a_url_that_nothing_reaches_is_a_fault_of_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"vault\.url"):
        UrlObjects("nonsense://somewhere")
