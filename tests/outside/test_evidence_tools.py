"""Evidence records (RFC 4998) under BouncyCastle, as an archive of others verifies them."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from node.timestamp.evidence.hash_tree import data_object
from tests.outside.bouncycastle import verdicts
from tests.vectors.evidence.authorities import THIRD, year
from tests.vectors.evidence.generate import ALL_FILES, FOLDER
from tests.vectors.evidence.story import FILES, OTHERS, created, rehashed, renewed, whole_story

BLIND_TO = {
    "1-listed": "it reads the list of algorithms, and uses that of each time stamp",
    "1-unlisted": "as before",
    "1-repeated": "as before",
    "1-attributes": "it does not ask what else is said",
    "2-turned": "it sorts the hashes itself",
    "6-stranger": "whom to believe is left to whoever calls it",
    "6-certificate": "it does not ask what certificates are for",
    "6-unsigned": "it does not ask what is unsigned",
}
"""What it takes and we do not. Most of it can be changed without a trace."""
ORDER = 7
"""From this step on time is judged, which is left to whoever calls it."""


def case(folder: Path, record: bytes, at_ms: int, files: list[bytes]) -> list[str | Path]:
    paths: list[str | Path] = []
    for content in (record, *files):
        path = folder / hashlib.sha256(content).hexdigest()
        path.write_bytes(content)
        paths.append(path)
    return [paths[0], f"{at_ms}", *paths[1:]]


def test_it_verifies_our_records_after_every_renewal(tmp_path: Path) -> None:
    first = created(tuple(map(data_object, FILES.values())), *OTHERS)
    once = renewed(first)
    twice = renewed(once, THIRD, year(2033))
    anew = rehashed(once)
    last = renewed(renewed(anew, time_ms=year(2033)), THIRD, year(2033.5))
    records = [first, once, twice, anew, last, whole_story()]
    both = list(FILES.values())
    cases = [case(tmp_path, each.encode(), year(2035), both) for each in records]
    assert verdicts("EvidenceRecords", cases) == [""] * len(records)
    others = [case(tmp_path, each.encode(), year(2035), both[:1]) for each in records]
    more = [*both, b"another"]
    others += [case(tmp_path, each.encode(), year(2035), more) for each in records]
    said = verdicts("EvidenceRecords", others)
    assert said[: len(records)] == [""] * len(records), "one file of a group is covered"
    assert all("not found" in each for each in said[len(records) :])


def test_it_agrees_with_us_on_our_vectors_as_far_as_it_looks(tmp_path: Path) -> None:
    cases, expected = [], {}
    for path in sorted((FOLDER / "cases").glob("*.json")):
        vector = json.loads(path.read_bytes())
        if (vector["step"] or 0) >= ORDER or path.stem == "good-certificate-beside":
            continue  # it looks for certificates in tokens alone
        files = [ALL_FILES[name] for name in vector["files"]]
        cases.append(case(tmp_path, base64.b64decode(vector["record"]), year(2040), files))
        expected[path.stem] = vector["step"] is None or path.stem in BLIND_TO
    said = verdicts("EvidenceRecords", cases)
    assert {name: not each for name, each in zip(expected, said, strict=True)} == expected
    assert expected.keys() >= BLIND_TO.keys()
