"""Evidence records (RFC 4998) under BouncyCastle and OpenSSL, as others verify them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from node.crypto.certificate import encode_pem
from node.timestamp.evidence.hash_tree import data_object
from node.timestamp.evidence.record import EvidenceRecord
from node.timestamp.evidence.verify import EvidenceTrust, verify_evidence
from node.timestamp.tokens.issuing import Coordinates, Stamp, encode_granted
from node.timestamp.tokens.reading import ReadToken
from node.timestamp.tokens.request import TimeStampRequest
from tests.outside.bouncycastle import verdicts
from tests.outside.environments import ROOT
from tests.vectors.evidence.authorities import FIRST, SECOND, THIRD, Tsa, year
from tests.vectors.evidence.generate import ALL_FILES, FOLDER, ROOTS
from tests.vectors.evidence.story import FILES, OTHERS, created, rehashed, renewed, whole_story

BLIND_TO = {
    "1-listed": "it reads the list of algorithms, and uses that of each time stamp",
    "1-unlisted": "as before",
    "1-repeated": "as before",
    "1-crypto-infos": "it does not mind two of them",
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


def test_what_the_page_says_of_openssl_holds(tmp_path: Path) -> None:
    """The tokens of a record are taken out, and verified as of when the next was made."""
    page = (ROOT / "proto" / "EVIDENCE.md").read_text()
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=True)
    run([sys.executable, "-c", program, FOLDER / "document.txt.ers"])
    roots = b"".join(encode_pem(tsa.root) for tsa in ROOTS.values())
    (tmp_path / "roots.pem").write_bytes(roots)
    (tmp_path / "empty.cnf").touch()  # `openssl ts` does not start without a configuration file
    record = EvidenceRecord.decode((FOLDER / "document.txt.ers").read_bytes())
    stamps = [ReadToken.decode(each.token).info for each in record.time_stamps]
    judged_ms = [*(stamp.time_ms for stamp in stamps[1:]), year(2035)]
    for number, (stamp, at_ms) in enumerate(zip(stamps, judged_ms, strict=True)):
        words = ["-token_in", "-in", f"{number}.token", "-digest", stamp.imprint.digest.hex()]
        times = ["-CAfile", "roots.pem", "-attime", f"{at_ms // 1_000}"]
        verified = run(
            ["openssl", "ts", "-verify", *words, *times],
            env={**os.environ, "OPENSSL_CONF": str(tmp_path / "empty.cnf")},
        )
        assert "Verification: OK" in verified.stdout


def stamped_by(tsa: Tsa, answer: Path, time_ms: int) -> None:
    """Answer the request that BouncyCastle left beside where the answer is to be."""
    request = TimeStampRequest.decode(answer.with_name(f"{answer.name}.tsq").read_bytes())
    stamp = Stamp(
        imprint=request.imprint,
        coordinates=Coordinates(bytes(7), height=1, log_index=1),
        time_ms=time_ms,
        nonce=request.nonce,
    )
    answer.write_bytes(encode_granted(tsa.issuer.issue(stamp)))


def test_we_verify_and_renew_records_that_it_made(tmp_path: Path) -> None:
    groups = [[b"document %d" % number, b"receipt %d" % number] for number in range(5)]
    files = [tmp_path / f"{at}.{part}" for at in range(5) for part in (0, 1)]
    for path, content in zip(files, (part for group in groups for part in group), strict=True):
        path.write_bytes(content)
    answer, again = tmp_path / "first.tsr", tmp_path / "second.tsr"
    creation: list[str | Path] = ["create", answer, tmp_path, *files]
    renewal: list[str | Path] = ["renew", again, tmp_path / "0.ers", tmp_path / "renewed.ers"]
    for steps, made in (([creation], answer), ([creation, renewal], again)):
        assert verdicts("EvidenceMaker", steps) == [""] * len(steps)
        tsa, time_ms = (FIRST, year(2026)) if made is answer else (SECOND, year(2028.5))
        stamped_by(tsa, made, time_ms)
    assert verdicts("EvidenceMaker", [renewal]) == [""]
    trust = EvidenceTrust(roots=[FIRST.root, SECOND.root])
    covered = set()
    for number in range(len(groups)):
        data = (tmp_path / f"{number}.ers").read_bytes()
        for at, group in enumerate(groups):
            named = tuple(map(data_object, group))
            found = verify_evidence(data, named, trust, at_ms=year(2027)).attestation
            if found is not None and found.is_whole:
                covered.add((number, at))
                assert EvidenceRecord.decode(data).encode() == data
                later = renewed(EvidenceRecord.decode(data)).encode()
                assert verify_evidence(later, named, trust, at_ms=year(2031)).attestation
                theirs = (tmp_path / "renewed.ers").read_bytes()
                verdict = verify_evidence(theirs, named, trust, at_ms=year(2031))
                assert (verdict.attestation is not None) == (number == 0)
    assert sorted(number for number, _ in covered) == sorted(at for _, at in covered)
    assert len(covered) == len(groups)
