"""Objects wherever fsspec reaches: S3-compatible stores, shared file systems, memory. Bytes alone.

Credentials are for the library of the store to find (for S3: its environment, its files, the
machine's role). They are in no setting of ours, and in no message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from node.errors import ConfigError
from node.storage.objects import NAME, ObjectStoreError, checked_name

_WITHOUT_FOLDERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Kinds of stores whose names only look like paths: a folder made there could become a bucket."""
_TIMES: Final = ("LastModified", "mtime", "created")
"""How listings name when an object came: of S3, of files, of memory."""
_FIX: Final = (
    "see that the store answers, and lets this node read, write, list and delete there, and ask "
    "whether it keeps versions"
)


class UrlObjects:
    """Objects below a URL.

    As durable and as atomic as that store makes a single object. Room is for the store to bound.
    A bucket that keeps what was deleted is read alone: nothing in it could be destroyed.
    """

    def __init__(self, url: str) -> None:
        """Keep objects below `url`; raises `ConfigError` where nothing here can reach it."""
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                "vault.url: expected a store and a folder, got credentials or options with them",
                fix="leave them out: the store's library finds its own, for S3 as the AWS tools do",
            )
        self._url = url
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra: not installed everywhere

            # A listing kept from before would hide what another node, or this one, put since.
            self._files, self._root = url_to_fs(
                url, use_listings_cache=False, skip_instance_cache=True
            )
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"vault.url: {url!r:.80} cannot be reached: {error}",
                fix=".venv/bin/pip install -e '.[s3]', or keep the vault in a folder: leave out "
                "vault.url",
            ) from error
        self._has_folders = parts.scheme not in _WITHOUT_FOLDERS
        self._keeps: bool | None = None

    def put(self, name: str, data: bytes) -> None:
        """Keep an object."""
        path = self._path(name)
        self._expect_forgetting()
        if self._has_folders:
            self._ask(lambda: self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True))
        self._ask(lambda: self._files.pipe_file(path, data))

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        path = self._path(name)
        found = self._find(lambda: self._files.cat_file(path))
        return None if found is None else bytes(found)

    def names(self, folder: str = "") -> Sequence[str]:
        """Return what lies in a folder."""
        parts = [str(each["name"]).rstrip("/").rsplit("/", 1)[-1] for each in self._listed(folder)]
        return sorted({each for each in parts if NAME.fullmatch(each)})

    def age_s(self, folder: str, now_s: int) -> int:
        """Return how long ago the newest object of a folder came, by the store's clock."""
        came_s = [_time_s(each) for each in self._listed(folder)]
        known_s = [each for each in came_s if each is not None]
        return max(0, now_s - max(known_s)) if known_s and len(known_s) == len(came_s) else 0

    def remove(self, name: str) -> None:
        """Remove an object or a folder, and see that nothing of it is left."""
        path = self._path(name)
        self._expect_forgetting()
        self._find(lambda: self._files.rm(path, recursive=True))
        if left := self._find(lambda: self._files.find(path)):
            raise ObjectStoreError(
                f"{self._url}: {len(left)} objects below {name} are there after they were deleted",
                fix=_FIX,
            )

    def _listed(self, folder: str) -> Sequence[Mapping[str, Any]]:
        path = self._path(folder) if folder else self._root
        return self._find(lambda: self._files.ls(path, detail=True)) or []

    def _find(self, question: Callable[[], Any]) -> Any:  # noqa: ANN401 - the library has no types
        """Return an answer, None where there is no such object or folder."""
        try:
            return self._ask(question)
        except _Missing:
            return None

    def _ask(self, question: Callable[[], Any]) -> Any:  # noqa: ANN401 - as above
        self._learn()
        try:
            return question()
        except FileNotFoundError as error:
            raise _Missing(f"{self._url}: {error}", fix=_FIX) from error
        except Exception as error:  # each store behind the library raises errors of its own
            raise self._refusal(error) from error

    def _learn(self) -> bool:
        """Return whether a bucket keeps what is deleted, asked once; raises where it is not there.

        The library itself tells a bucket that is not there from an object by nothing.
        """
        if self._keeps is None:
            bucket = self._root.split("/", 1)[0]
            try:
                ask = getattr(self._files, "is_bucket_versioned", None)
                self._keeps = ask is not None and bool(ask(bucket))
            except FileNotFoundError as error:
                raise ObjectStoreError(
                    f"{self._url}: there is no bucket {bucket!r}",
                    fix="correct vault.url in node.toml, or make the bucket, without versions",
                ) from error
            except Exception as error:  # as above
                raise self._refusal(error) from error
        return self._keeps

    def _expect_forgetting(self) -> None:
        """Raise `ObjectStoreError` where a bucket keeps what is deleted."""
        if self._learn():
            raise ObjectStoreError(
                f"{self._url}: the bucket keeps versions of what is deleted, so that nothing in it "
                "could be destroyed",
                fix="suspend versions there, delete those kept and start again, or name another",
            )

    def _refusal(self, error: Exception) -> ObjectStoreError:
        said = f"{type(error).__name__}: {error}"
        return ObjectStoreError(f"{self._url}: {said}", fix=_FIX)

    def _path(self, name: str) -> str:
        return f"{self._root}/{checked_name(name)}"


class _Missing(ObjectStoreError):  # noqa: N818 - a state of what lies there
    """There is no such object or folder."""


def _time_s(entry: Mapping[str, Any]) -> int | None:
    """Return when an entry of a listing came, UTC seconds; None where it does not tell."""
    for found in _told(entry):
        if isinstance(found, datetime):
            return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
        if isinstance(found, int | float):
            return int(found)
    return None


def _told(entry: Mapping[str, Any]) -> Iterator[object]:
    return (entry[each] for each in _TIMES if each in entry)
