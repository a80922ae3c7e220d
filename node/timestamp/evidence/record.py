"""The evidence record of RFC 4998: its parts, written and read in DER. Nothing is checked but form.

What is optional there and nothing protects is neither written nor read: attributes of an archive
time stamp, how files were encrypted, and of the cryptographic information all but certificates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

from node.crypto import der
from node.crypto.suite import DOCUMENT_DIGESTS, DocumentDigest
from node.errors import DecodeError, ProofError
from node.timestamp.evidence.hash_tree import HashLists

EVIDENCE_SUFFIX: Final = ".ers"
EVIDENCE_BYTES_MAX: Final = 4_194_304
TIME_STAMPS_MAX: Final = 256
"""Of a record: renewed once a year, more than its algorithms will see."""
CERTIFICATE_VALUES: Final = "1.2.840.113549.1.9.16.2.23"
"""The attribute of CryptoInfos that holds certificates (id-aa-ets-certValues, RFC 5126)."""

_VERSION: Final = 1
_LISTS_MAX: Final = 64
_LIST_HASHES_MAX: Final = 1_024
_CERTIFICATES_MAX: Final = 32
_CRYPTO_INFOS: Final = der.context(0, constructed=True)
_ENCRYPTION_INFO: Final = der.context(1, constructed=True)
_DIGEST_ALGORITHM: Final = der.context(0, constructed=True)
_ATTRIBUTES: Final = der.context(1, constructed=True)
_REDUCED_HASH_TREE: Final = der.context(2, constructed=True)
_BY_OID: Final = {digest.oid: digest for digest in DOCUMENT_DIGESTS}


@dataclass(frozen=True, slots=True)
class ArchiveTimeStamp:
    """A time stamp, and what leads from what a record is about to what it stamps."""

    algorithm: DocumentDigest | None
    """Of the tree; None where it is left to the time stamp."""
    lists: HashLists
    """The reduced hash tree; empty where what is stamped is the hash itself."""
    token: bytes
    """The TimeStampToken: the content of the field `timeStamp`, as renewals hash it."""
    encoded: bytes
    """All of it in DER, as later chains hash it."""

    @classmethod
    def of(cls, algorithm: DocumentDigest, lists: HashLists, token: bytes) -> Self:
        """Return a new one, which names its algorithm."""
        identifier = der.encode(_DIGEST_ALGORITHM, der.encode_oid(algorithm.oid))
        trees = [
            der.encode_sequence(*(der.encode(der.OCTET_STRING, each) for each in hashes))
            for hashes in lists
        ]
        tree = der.encode(_REDUCED_HASH_TREE, b"".join(trees)) if lists else b""
        return cls(algorithm, lists, token, der.encode_sequence(identifier, tree, token))

    @classmethod
    def read(cls, outer: der.Reader) -> Self:
        """Read the next element; raises `DecodeError` or `ProofError`."""
        element = outer.read(der.SEQUENCE)
        reader = der.Reader(element.content, "archive time stamp")
        named = reader.enter_if(_DIGEST_ALGORITHM, "archive time stamp algorithm")
        algorithm = None if named is None else _read_algorithm(named)
        if reader.read_if(_ATTRIBUTES) is not None:
            raise ProofError("record-attributes", "expected none: nothing protects them")
        tree = reader.enter_if(_REDUCED_HASH_TREE, "reduced hash tree")
        lists = () if tree is None else _read_lists(tree)
        token = reader.read(der.SEQUENCE).encoded
        reader.finish()
        return cls(algorithm, lists, token, element.encoded)


Chain: TypeAlias = tuple[ArchiveTimeStamp, ...]
"""Archive time stamps by one hash algorithm, each over those before it."""


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """Chains of archive time stamps over the same files, oldest first. Proves nothing by itself."""

    algorithms: tuple[DocumentDigest, ...]
    """Of the chains, as the record lists them."""
    chains: tuple[Chain, ...]
    certificates: tuple[bytes, ...] = ()
    """DER, of those between a time stamp and its root that its token does not hold."""

    def encode(self) -> bytes:
        """Return the DER of EvidenceRecord."""
        algorithms = (der.encode_sequence(der.encode_oid(each.oid)) for each in self.algorithms)
        return der.encode_sequence(
            der.encode_integer(_VERSION),
            der.encode_sequence(*algorithms),
            _encode_crypto_infos(self.certificates),
            encode_chains(self.chains),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a record; raises `DecodeError`, or `ProofError` for what is not read on purpose."""
        if len(data) > EVIDENCE_BYTES_MAX:
            raise DecodeError(f"evidence record: expected at most {EVIDENCE_BYTES_MAX} bytes")
        reader = der.read_only(data, der.SEQUENCE, "evidence record")
        version = reader.read_integer()
        if version != _VERSION:
            raise ProofError("record-version", f"expected {_VERSION}, got {version}")
        listed = reader.enter(der.SEQUENCE, "digest algorithms")
        algorithms = []
        while not listed.is_empty:
            algorithms.append(_read_algorithm(listed.enter(der.SEQUENCE, "digest algorithm")))
        infos = reader.enter_if(_CRYPTO_INFOS, "crypto infos")
        certificates = () if infos is None else _read_crypto_infos(infos)
        if reader.read_if(_ENCRYPTION_INFO) is not None:
            raise ProofError("record-encryption", "expected files as they are, not encrypted")
        chains = _read_chains(reader.enter(der.SEQUENCE, "archive time stamp sequence"))
        reader.finish()
        return cls(tuple(algorithms), chains, certificates)

    @property
    def time_stamps(self) -> tuple[ArchiveTimeStamp, ...]:
        """Return all archive time stamps, oldest first."""
        return tuple(each for chain in self.chains for each in chain)

    def renewed(self, stamp: ArchiveTimeStamp, certificates: Iterable[bytes] = ()) -> Self:
        """Return the record with one more time stamp in its last chain."""
        *before, last = self.chains
        return self._with((*before, (*last, stamp)), self.algorithms, certificates)

    def rehashed(
        self, stamp: ArchiveTimeStamp, algorithm: DocumentDigest, certificates: Iterable[bytes] = ()
    ) -> Self:
        """Return the record with one more chain, of that time stamp."""
        algorithms = tuple(dict.fromkeys((*self.algorithms, algorithm)))
        return self._with((*self.chains, (stamp,)), algorithms, certificates)

    def _with(
        self,
        chains: tuple[Chain, ...],
        algorithms: tuple[DocumentDigest, ...],
        certificates: Iterable[bytes],
    ) -> Self:
        held = tuple(dict.fromkeys((*self.certificates, *certificates)))
        return replace(self, chains=chains, algorithms=algorithms, certificates=held)


def encode_chains(chains: Iterable[Chain]) -> bytes:
    """Return the DER of ArchiveTimeStampSequence."""
    return der.encode_sequence(
        *(der.encode_sequence(*(stamp.encoded for stamp in chain)) for chain in chains)
    )


def _encode_crypto_infos(certificates: tuple[bytes, ...]) -> bytes:
    if not certificates:
        return b""
    values = der.encode_set(der.encode_sequence(*certificates))
    attribute = der.encode_sequence(der.encode_oid(CERTIFICATE_VALUES), values)
    return der.encode(_CRYPTO_INFOS, attribute)


def _read_crypto_infos(reader: der.Reader) -> tuple[bytes, ...]:
    attribute = reader.enter(der.SEQUENCE, "crypto info")
    name = attribute.read_oid()
    if name != CERTIFICATE_VALUES or not reader.is_empty:
        raise ProofError("record-crypto-infos", f"expected {CERTIFICATE_VALUES} alone, got {name}")
    values = attribute.enter(der.SET, "crypto info values")
    held = values.enter(der.SEQUENCE, "crypto info certificates")
    certificates: list[bytes] = []
    while not held.is_empty and len(certificates) < _CERTIFICATES_MAX:
        certificates.append(held.read(der.SEQUENCE).encoded)
    for each in (held, values, attribute):
        each.finish()
    if len(set(certificates)) != len(certificates) or not certificates:
        raise ProofError("record-crypto-infos", "expected certificates, each once")
    return tuple(certificates)


def _read_chains(reader: der.Reader) -> tuple[Chain, ...]:
    chains: list[Chain] = []
    count = 0
    while not reader.is_empty:
        chain = reader.enter(der.SEQUENCE, "archive time stamp chain")
        stamps: list[ArchiveTimeStamp] = []
        while not chain.is_empty:
            stamps.append(ArchiveTimeStamp.read(chain))
            count += 1
            if count > TIME_STAMPS_MAX:
                most = f"expected at most {TIME_STAMPS_MAX} time stamps"
                raise DecodeError(f"evidence record: {most}")
        if not stamps:
            raise DecodeError("archive time stamp chain: expected at least one time stamp")
        chains.append(tuple(stamps))
    if not chains:
        raise DecodeError("archive time stamp sequence: expected at least one chain")
    return tuple(chains)


def _read_lists(reader: der.Reader) -> HashLists:
    lists: list[tuple[bytes, ...]] = []
    while not reader.is_empty and len(lists) < _LISTS_MAX:
        partial = reader.enter(der.SEQUENCE, "partial hash tree")
        hashes: list[bytes] = []
        while not partial.is_empty and len(hashes) < _LIST_HASHES_MAX:
            hashes.append(partial.read(der.OCTET_STRING).content)
        partial.finish()
        lists.append(tuple(hashes))
    reader.finish()
    if not lists:
        raise DecodeError("reduced hash tree: expected at least one list")
    return tuple(lists)


def _read_algorithm(reader: der.Reader) -> DocumentDigest:
    """Read the content of an AlgorithmIdentifier, whose parameters are NULL or left out."""
    oid = reader.read_oid()
    parameters = reader.read_if(der.NULL)
    reader.finish()
    if parameters is not None and parameters.content:
        raise DecodeError(f"{reader.what}: expected parameters NULL or none")
    if oid not in _BY_OID:
        known = ", ".join(digest.name for digest in DOCUMENT_DIGESTS)
        raise ProofError("record-algorithm", f"expected one of {known}, got {oid}")
    return _BY_OID[oid]
