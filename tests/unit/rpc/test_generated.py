"""The committed transport code is what the protocol files say: neither may change alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
GENERATED = Path("node/rpc/pb")


def documented_command() -> str:
    """Return the command that node/rpc/README.md gives for regeneration."""
    page = (ROOT / "node/rpc/README.md").read_text()
    [block] = re.findall(r"```sh\n(.*?grpc_tools\.protoc.*?)```", page, re.DOTALL)
    return str(block)


def generate(folder: Path) -> dict[str, str]:
    """Run that command, but into `folder`; return what it made, by file name."""
    command = documented_command().replace("_out=.", f"_out='{folder}'")
    subprocess.run(["bash", "-c", command], cwd=ROOT, check=True, capture_output=True)
    return {file.name: file.read_text() for file in sorted((folder / GENERATED).iterdir())}


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    committed = {
        file.name: file.read_text()
        for file in sorted((ROOT / GENERATED).iterdir())
        if file.suffix in (".py", ".pyi") and file.name != "__init__.py"
    }
    made = generate(tmp_path)
    assert sorted(made) == sorted(committed)
    stale = [name for name, text in made.items() if text != committed[name]]
    assert stale == [], "regenerate with the command in node/rpc/README.md"
