"""A program that verifies every receipt vector with the standard library, cryptography and cbor2.

It prints, as JSON, what `tests/unit/timestamp/test_alone.py` compares: of each case the outcome and
the steps, and which packages were imported. With the argument `guarded` every other package is as
if it were not installed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
REFRESHED = ("", ".cose", ".tsr", ".pdf")
ALLOWED = {"node", "cryptography", "_openssl", "cffi", "_cffi_backend", "cbor2", "_cbor2"}
"""Names that those three packages bring; `_openssl` is compiled into cryptography."""


class Guard:
    """Finds no package but those allowed."""

    @staticmethod
    def find_spec(
        name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Leave what is allowed to the finders that follow."""
        package = name.partition(".")[0]
        if package in ALLOWED or package in sys.stdlib_module_names:
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def verdicts() -> dict[str, Any]:
    """Verify every vector; return outcome, steps and what is attested, of each by name."""
    from node.timestamp.trust import load_trust  # noqa: PLC0415 - after the guard
    from node.timestamp.verify import NamedDigest, verify_receipt  # noqa: PLC0415

    anchors = {
        path.name: load_trust(path.read_bytes()) for path in (VECTORS / "trust").glob("*.json")
    }
    found: dict[str, Any] = {}
    for path in sorted((VECTORS / "cases").glob("*.json")):
        case = json.loads(path.read_bytes())
        verdict = verify_receipt(
            base64.b64decode(case["receipt"]),
            anchors[case["trust"]],
            NamedDigest.parse(case["digest"]),
        )
        found[path.stem] = _told(verdict)
    found.update(other_verdicts())
    return found


def _told(verdict: Any) -> list[Any]:  # noqa: ANN401 - its type is known after the guard
    steps = [[int(each.step), each.passed, each.detail, each.unchecked] for each in verdict.steps]
    return [verdict.outcome.value, steps, repr(verdict.attestation)]


def other_verdicts() -> dict[str, Any]:
    """Verify what is no receipt of the native form, after importing all that verifies anything."""
    import node.timestamp  # noqa: PLC0415 - after the guard

    for module in pkgutil.walk_packages(node.timestamp.__path__, "node.timestamp."):
        importlib.import_module(module.name)
    from node.timestamp.compact_verify import verify_compact  # noqa: PLC0415
    from node.timestamp.log.verify import verify_tlog_by_trust  # noqa: PLC0415
    from node.timestamp.trust import load_trust  # noqa: PLC0415
    from node.timestamp.verify import NamedDigest, verify_receipt  # noqa: PLC0415

    digest = hashlib.sha256((VECTORS / "document.txt").read_bytes()).hexdigest()
    found = {}
    asked: list[tuple[str, str, Any]] = [
        ("document.txt.tsr", "genesis", verify_receipt),
        ("document.txt.cose", "genesis", verify_receipt),
        ("document.txt.pdf", "genesis", verify_receipt),
        ("document.txt.tlog-proof", "genesis", verify_tlog_by_trust),
        ("compact.qr.txt", "compact", verify_compact),
    ]
    asked += [(f"document.txt.refreshed{form}", "pinned-7", verify_receipt) for form in REFRESHED]
    for name, trust, verify in asked:
        anchor = load_trust((VECTORS / "trust" / f"{trust}.json").read_bytes())
        verdict = verify((VECTORS / name).read_bytes(), anchor, NamedDigest.parse(digest))
        found[name] = _told(verdict)
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["guarded"]:
        sys.meta_path.insert(0, Guard)
    before = set(sys.modules)
    cases = verdicts()
    packages = {name.partition(".")[0] for name in set(sys.modules) - before}
    json.dump({"cases": cases, "packages": sorted(packages - sys.stdlib_module_names)}, sys.stdout)
