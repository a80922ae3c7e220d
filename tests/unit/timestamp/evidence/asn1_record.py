"""RFC 4998 as asn1crypto has it: the oracle of what we write, from its ASN.1."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

from asn1crypto import algos, core

from node.timestamp.evidence.record import CERTIFICATE_VALUES, EvidenceRecord

Spec: TypeAlias = Any  # asn1crypto has no types


class Attribute(core.Sequence):  # type: ignore[misc]
    """An attribute of any kind."""

    _fields: ClassVar[Spec] = [
        ("type", core.ObjectIdentifier),
        ("values", core.SetOf, {"spec": core.Any}),
    ]


class CryptoInfos(core.SequenceOf):  # type: ignore[misc]
    """What helps to verify."""

    _child_spec = Attribute


class PartialHashtree(core.SequenceOf):  # type: ignore[misc]
    """Hashes under one node."""

    _child_spec = core.OctetString


class ReducedHashtree(core.SequenceOf):  # type: ignore[misc]
    """From a group to the root."""

    _child_spec = PartialHashtree


class Attributes(core.SetOf):  # type: ignore[misc]
    """What we never write."""

    _child_spec = Attribute


class ArchiveTimeStamp(core.Sequence):  # type: ignore[misc]
    """A time stamp over a hash tree."""

    _fields: ClassVar[Spec] = [
        ("digest_algorithm", algos.DigestAlgorithm, {"implicit": 0, "optional": True}),
        ("attributes", Attributes, {"implicit": 1, "optional": True}),
        ("reduced_hashtree", ReducedHashtree, {"implicit": 2, "optional": True}),
        ("time_stamp", core.Any),  # a token: as a tree it is the business of `reference_token.py`
    ]


class ArchiveTimeStampChain(core.SequenceOf):  # type: ignore[misc]
    """Those by one algorithm."""

    _child_spec = ArchiveTimeStamp


class ArchiveTimeStampSequence(core.SequenceOf):  # type: ignore[misc]
    """All chains."""

    _child_spec = ArchiveTimeStampChain


class EncryptionInfo(core.Sequence):  # type: ignore[misc]
    """What we never write."""

    _fields: ClassVar[Spec] = [("type", core.ObjectIdentifier), ("value", core.Any)]


class DigestAlgorithms(core.SequenceOf):  # type: ignore[misc]
    """Those of the chains."""

    _child_spec = algos.DigestAlgorithm


class Record(core.Sequence):  # type: ignore[misc]
    """EvidenceRecord."""

    _fields: ClassVar[Spec] = [
        ("version", core.Integer),
        ("digest_algorithms", DigestAlgorithms),
        ("crypto_infos", CryptoInfos, {"implicit": 0, "optional": True}),
        ("encryption_info", EncryptionInfo, {"implicit": 1, "optional": True}),
        ("archive_time_stamp_sequence", ArchiveTimeStampSequence),
    ]


def rebuilt(record: EvidenceRecord) -> bytes:
    """Return the DER of a record as asn1crypto builds it from what it says."""
    fields: dict[str, Spec] = {
        "version": 1,
        "digest_algorithms": [_algorithm(each.name) for each in record.algorithms],
        "archive_time_stamp_sequence": [
            [
                {
                    "digest_algorithm": stamp.algorithm and _algorithm(stamp.algorithm.name),
                    "reduced_hashtree": [list(hashes) for hashes in stamp.lists] or None,
                    "time_stamp": core.Any.load(stamp.token, strict=True),
                }
                for stamp in chain
            ]
            for chain in record.chains
        ],
    }
    if record.certificates:
        held = core.SequenceOf([core.Any.load(each) for each in record.certificates], spec=core.Any)
        fields["crypto_infos"] = [{"type": CERTIFICATE_VALUES, "values": [held]}]
    return bytes(Record(_present(fields)).dump(force=True))


def _present(fields: Spec) -> Spec:
    """Leave out what is None, at any depth."""
    if isinstance(fields, dict):
        return {name: _present(value) for name, value in fields.items() if value is not None}
    return [_present(each) for each in fields] if isinstance(fields, list) else fields


def _algorithm(name: str) -> Spec:
    made = algos.DigestAlgorithm({"algorithm": name.replace("-", "")})
    del made["parameters"]  # RFC 5754 leaves them out, where asn1crypto puts NULL
    return made
