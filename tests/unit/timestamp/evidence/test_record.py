"""Evidence records written and read: byte for byte those of asn1crypto."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from node.crypto import der
from node.errors import DecodeError, ProofError
from node.timestamp.evidence import record as record_module
from node.timestamp.evidence.record import EvidenceRecord
from tests.unit.timestamp.evidence.asn1_record import Record, rebuilt
from tests.vectors.evidence.generate import FOLDER
from tests.vectors.evidence.story import created

GOOD = sorted((FOLDER / "cases").glob("good-*.json"))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_what_we_write_is_what_another_encoder_writes(path: Path) -> None:
    data = base64.b64decode(json.loads(path.read_bytes())["record"])
    record = EvidenceRecord.decode(data)
    assert record.encode() == data
    assert rebuilt(record) == data
    read = Record.load(data, strict=True)
    stamps = [stamp for chain in read["archive_time_stamp_sequence"] for stamp in chain]
    assert [stamp["time_stamp"].dump() for stamp in stamps] == [
        stamp.token for stamp in record.time_stamps
    ]


def test_null_parameters_are_read_as_none() -> None:
    record = created()
    oid = der.encode_oid(record.algorithms[0].oid)
    plain = der.encode_sequence(oid)
    with_null = der.encode_sequence(oid, der.encode(der.NULL, b""))
    whole = der.read_only(record.encode(), der.SEQUENCE, "record")
    version, _listed, chains = (whole.read().encoded for _ in range(3))
    listed = der.encode_sequence(with_null)
    changed = der.encode_sequence(version, listed, chains)
    assert EvidenceRecord.decode(changed) == record
    odd = der.encode_sequence(oid, der.encode(der.NULL, b"\0"))
    for wrong in (der.encode_sequence(odd), der.encode_sequence(plain + b"\0\0")):
        with pytest.raises(DecodeError):
            EvidenceRecord.decode(der.encode_sequence(version, wrong, chains))


@pytest.mark.parametrize(
    "bound", ["EVIDENCE_BYTES_MAX", "TIME_STAMPS_MAX", "_LISTS_MAX", "_LIST_HASHES_MAX"]
)
def test_records_are_bounded(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    data = created().encode()
    EvidenceRecord.decode(data)
    monkeypatch.setattr(record_module, bound, 0)
    with pytest.raises(DecodeError):
        EvidenceRecord.decode(data)


def test_certificates_beside_are_each_there_once() -> None:
    record = created()
    certificate = der.encode_sequence(der.encode_integer(1))
    for certificates in ((certificate, certificate), (certificate,) * 40):
        with pytest.raises((DecodeError, ProofError)):
            EvidenceRecord.decode(
                EvidenceRecord(record.algorithms, record.chains, certificates).encode()
            )
