"""Which engine a database gets: the one that made it, the one that is configured, or what there is.

Only one binding may be installed, so each is imported when its engine is needed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from node.config import StorageConfig
from node.errors import StorageError
from node.storage.disk_engine import EngineOptions
from node.storage.kv import KeyValueStore

LEVELDB: Final = "leveldb"
ROCKSDB: Final = "rocksdb"

_BINDINGS: Final = {LEVELDB: "plyvel", ROCKSDB: "rocksdict"}  # in the order of preference
_MIB: Final = 2**20


def open_database(
    path: Path, *, create: bool, storage: StorageConfig | None = None
) -> KeyValueStore:
    """Open the database in the folder `path`; with `create` an absent one is made.

    Raises `StorageError`: of another engine than the configured one (GC-3013), of an engine that
    is not installed (GC-3014), and whatever opening it raises.
    """
    storage = storage or StorageConfig()
    engine = _choose(path, storage.engine)
    options = EngineOptions(
        cache_bytes=storage.cache_mib * _MIB,
        write_buffer_bytes=storage.write_buffer_mib * _MIB,
    )
    if engine == LEVELDB:
        from node.storage.leveldb import LevelDBStore  # noqa: PLC0415 - may not be installed

        return LevelDBStore.open(path, create=create, options=options)
    from node.storage.rocksdb import RocksDBStore  # noqa: PLC0415 - may not be installed

    return RocksDBStore.open(path, create=create, options=options)


def engine_of(path: Path) -> str | None:
    """Return the engine that made the database in the folder `path`, None where there is none.

    Told by the files that only one of them makes, so that a crash cannot part the two.
    """
    if (path / "IDENTITY").exists() or any(path.glob("OPTIONS-*")):
        return ROCKSDB
    return LEVELDB if (path / "CURRENT").exists() else None


def installed_engines() -> tuple[str, ...]:
    """Return the engines whose bindings are installed, the preferred one first."""
    return tuple(engine for engine, binding in _BINDINGS.items() if find_spec(binding))


def _choose(path: Path, configured: str) -> str:
    made_by = engine_of(path)
    if made_by is not None and configured not in {"auto", made_by}:
        raise StorageError(
            f"{path}: made by the engine {made_by}, but node.toml asks for {configured}",
            code="GC-3013",
            fix=f'let storage.engine be "auto" or "{made_by}", or move the folder away: '
            "the node fetches the ledger again from the other validators",
        )
    installed = installed_engines()
    wanted = made_by or (configured if configured != "auto" else next(iter(installed), LEVELDB))
    if wanted not in installed:
        raise StorageError(
            f"{path}: the engine {wanted} is needed, and {_BINDINGS[wanted]} is not installed",
            code="GC-3014",
            fix=f".venv/bin/pip install -e '.[{wanted}]', or move the folder away: with the engine "
            "that is installed the node fetches the ledger again from the other validators",
        )
    return wanted
