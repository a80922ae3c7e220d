"""Evidence records made and renewed: what one new time stamp is to cover, for many at once.

Asking for the token lies between `plan` and `finish`. Nothing is verified here: whoever renews a
record that does not verify makes another that does not.

- `plan_creation`: a tree over files (RFC 4998 section 4.2).
- `plan_renewal`: over the time stamps of the last chain, before a certificate or signature ages
  (section 5.2). Over all of them, where the last would do: BouncyCastle asks for it.
- `plan_rehashing`: over the files by a stronger hash, and over all chains so far (section 5.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.crypto.suite import DocumentDigest
from node.errors import ClientError
from node.timestamp.evidence.hash_tree import DataGroup, HashTree
from node.timestamp.evidence.record import ArchiveTimeStamp, EvidenceRecord, encode_chains
from node.timestamp.tokens.issuing import without_unsigned_attributes
from node.timestamp.tokens.reading import ReadToken, token_of_answer
from node.timestamp.tokens.request import Imprint


@dataclass(frozen=True, slots=True)
class Plan:
    """What one token is to stamp, and the records that it then makes or renews."""

    records: tuple[EvidenceRecord | None, ...]
    """What is renewed, None each for one that is made."""
    groups: tuple[tuple[bytes, ...], ...]
    """Of each: the hashes that the time stamp is to cover."""
    tree: HashTree
    begins_chains: bool

    @property
    def imprint(self) -> Imprint:
        """What to have stamped."""
        return Imprint.of(self.tree.algorithm, self.tree.root)

    def finish(self, answer: bytes, certificates: Sequence[bytes] = ()) -> list[EvidenceRecord]:
        """Return the records with the token of an answer, in their order.

        `certificates` (DER) are those between its key and a root that it does not hold. Of the
        token what is signed is kept: a chain proof is no part of it. Raises `DecodeError` or
        `ProofError` for what is no token, `ClientError` for one over something else.
        """
        token = without_unsigned_attributes(token_of_answer(answer))
        imprint = ReadToken.decode(token).info.imprint
        if (imprint.algorithm, imprint.digest) != (self.tree.algorithm, self.tree.root):
            raise ClientError("time stamp: it is not over what was to be stamped")
        algorithm = self.tree.algorithm
        made = []
        for record, group in zip(self.records, self.groups, strict=True):
            stamp = ArchiveTimeStamp.of(algorithm, self.tree.reduce(group), token)
            if record is None:
                made.append(EvidenceRecord((algorithm,), ((stamp,),), tuple(certificates)))
            elif self.begins_chains:
                made.append(record.rehashed(stamp, algorithm, certificates))
            else:
                made.append(record.renewed(stamp, certificates))
        return made


def plan_creation(groups: Iterable[DataGroup], algorithm: DocumentDigest) -> Plan:
    """Return what makes a record for each group of files, of which there is at least one."""
    hashes = [_ordered(each(algorithm) for each in group) for group in groups]
    return _plan([None] * len(hashes), hashes, algorithm, begins_chains=True)


def plan_renewal(records: Sequence[EvidenceRecord]) -> Plan:
    """Return what renews the time stamps of records, at least one, all hashed by one algorithm.

    Raises `ClientError` where they are not.
    """
    algorithms = {algorithm_in_use(record) for record in records}
    if len(algorithms) > 1:
        names = ", ".join(sorted(each.name for each in algorithms))
        raise ClientError(f"records: expected those of one hash algorithm, got {names}")
    (algorithm,) = algorithms
    hashes = [
        _ordered(algorithm.new_hash(stamp.token).digest() for stamp in record.chains[-1])
        for record in records
    ]
    return _plan(records, hashes, algorithm, begins_chains=False)


def plan_rehashing(
    records: Sequence[EvidenceRecord], groups: Iterable[DataGroup], algorithm: DocumentDigest
) -> Plan:
    """Return what renews the hash trees of records, at least one, given their files in order."""
    hashes = [
        _ordered(rehash(each(algorithm), record.chains, algorithm) for each in group)
        for record, group in zip(records, groups, strict=True)
    ]
    return _plan(records, hashes, algorithm, begins_chains=True)


def rehash(
    digest: bytes, chains: Sequence[tuple[ArchiveTimeStamp, ...]], algorithm: DocumentDigest
) -> bytes:
    """Return what a new chain stamps of a file with this digest, given all older chains.

    The digest first, then that of the chains: RFC 4998 section 5.2 step 4, not its figure 4.
    """
    before = algorithm.new_hash(encode_chains(chains)).digest()
    return algorithm.new_hash(digest + before).digest()


def algorithm_in_use(record: EvidenceRecord) -> DocumentDigest:
    """Return the hash algorithm of a record's last chain; raises what reading its token raises."""
    last = record.chains[-1][-1]
    return last.algorithm or ReadToken.decode(last.token).info.imprint.algorithm


def _ordered(hashes: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted(set(hashes)))


def _plan(
    records: Sequence[EvidenceRecord | None],
    hashes: Sequence[tuple[bytes, ...]],
    algorithm: DocumentDigest,
    *,
    begins_chains: bool,
) -> Plan:
    return Plan(tuple(records), tuple(hashes), HashTree(hashes, algorithm), begins_chains)
