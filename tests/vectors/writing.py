"""Generated vectors on disk: those that are made are written, those no longer made are removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_generated(folder: Path, made: Mapping[str, bytes], *patterns: str) -> None:
    """Write files by relative path; remove what matches a pattern and is not among them."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            if str(path.relative_to(folder)) not in made:
                path.unlink()
    for name, content in made.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
