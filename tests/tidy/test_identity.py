"""The import name `node` belongs to this tree: nothing installed may share or shadow it.

Other distributions use that name too, and two of them writing one folder overwrite each other
without a word. The folders beside `node/` have names that libraries own: they stay plain folders.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

import node

ROOT = Path(__file__).parents[2]
PLAIN_FOLDERS = ("bench", "contracts", "docker", "proto", "tests")


def foreign_owners(installed: Iterable[Distribution], package: str) -> set[str]:
    """Return the distributions, ours apart, that own a file under the import name `package`."""
    return {
        found.name
        for found in installed
        if found.name != "govchain"
        and any(path.parts[0] in {package, f"{package}.py"} for path in found.files or ())
    }


def init_files(root: Path) -> list[Path]:
    """Return the `__init__.py` files in folders that must not be packages."""
    return [path for folder in PLAIN_FOLDERS for path in (root / folder).rglob("__init__.py")]


def plant_distribution(site: Path, name: str, file: str) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{file},,\n{name}-1.0.dist-info/METADATA,,\n")


def test_no_other_distribution_owns_the_import_name() -> None:
    assert foreign_owners(distributions(), "node") == set()


def test_no_distribution_shadows_the_tests() -> None:
    # A plain folder loses to an installed package of the same name, wherever the two stand.
    assert foreign_owners(distributions(), "tests") == set()


def test_the_imported_package_is_the_tree_under_test() -> None:
    assert node.__file__ is not None
    assert Path(node.__file__).parent == ROOT / "node"


def test_folders_beside_the_package_are_not_packages() -> None:
    assert init_files(ROOT) == []


def test_the_console_script_has_a_name_of_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"govchain": "node.cli.main:main"}


@pytest.mark.parametrize("file", ["node/__init__.py", "node/rpc/server.py", "node.py"])
def test_a_foreign_owner_is_found(tmp_path: Path, file: str) -> None:
    plant_distribution(tmp_path, "intruder", file)
    plant_distribution(tmp_path, "bystander", "nodes/__init__.py")
    assert foreign_owners(distributions(path=[str(tmp_path)]), "node") == {"intruder"}


def test_an_init_file_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "tests" / "unit" / "__init__.py"
    planted.parent.mkdir(parents=True)
    planted.touch()
    assert init_files(tmp_path) == [planted]
