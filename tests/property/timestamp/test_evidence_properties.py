"""Evidence records: every bit counts, nothing crashes, trees lead to their root alone."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from node.crypto.suite import DOCUMENT_DIGESTS, SHA_256, DocumentDigest
from node.errors import DecodeError, ProofError
from node.timestamp.evidence.hash_tree import HashTree, hash_group, root_of
from node.timestamp.evidence.record import EvidenceRecord
from node.timestamp.evidence.verify import EvidenceTrust, verify_evidence
from node.timestamp.steps import Outcome
from tests.vectors.evidence.authorities import year
from tests.vectors.evidence.generate import ROOTS
from tests.vectors.evidence.story import GROUP, created, whole_story

TRUST = EvidenceTrust(roots=[tsa.root for tsa in ROOTS.values()])


@cache
def story() -> bytes:
    return whole_story().encode()


def outcome(data: bytes) -> Outcome:
    return verify_evidence(data, GROUP, TRUST, at_ms=year(2035)).outcome


def test_every_byte_of_a_record_counts() -> None:
    encoded = created(GROUP).encode()
    judged_ms = year(2027)
    assert verify_evidence(encoded, GROUP, TRUST, at_ms=judged_ms).outcome is Outcome.VERIFIED
    for position in range(len(encoded)):
        flipped = bytearray(encoded)
        flipped[position] ^= 1 << position % 8
        verdict = verify_evidence(bytes(flipped), GROUP, TRUST, at_ms=judged_ms)
        assert verdict.outcome is not Outcome.VERIFIED, position


@given(st.data())
@settings(max_examples=150)
def test_every_bit_of_ten_years_counts(data: st.DataObject) -> None:
    flipped = bytearray(story())
    bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    assert outcome(bytes(flipped)) is not Outcome.VERIFIED


@given(st.data())
def test_whatever_is_cut_out_or_put_in_is_noticed_and_nothing_crashes(data: st.DataObject) -> None:
    encoded = story()
    start = data.draw(st.integers(0, len(encoded)))
    end = data.draw(st.integers(start, min(len(encoded), start + 64)))
    changed = encoded[:start] + data.draw(st.binary(max_size=8)) + encoded[end:]
    assert (outcome(changed) is Outcome.VERIFIED) == (changed == encoded)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        record = EvidenceRecord.decode(data)
    except (DecodeError, ProofError):
        assert outcome(data) is Outcome.NOT_VERIFIED
    else:
        assert record.chains


GROUPS = st.lists(st.sets(st.integers(0, 60), min_size=1, max_size=4), min_size=1, max_size=40)


@given(GROUPS, st.sampled_from(DOCUMENT_DIGESTS))
def test_every_group_of_a_tree_leads_to_its_root(
    numbers: list[set[int]], algorithm: DocumentDigest
) -> None:
    def hashed(number: int) -> bytes:
        return algorithm.new_hash(b"%d" % number).digest()

    groups = [[hashed(number) for number in group] for group in numbers]
    tree = HashTree(groups, algorithm)
    for group in groups:
        lists = tree.reduce(group)
        if not lists:
            assert tree.root == hash_group(group, algorithm)
            continue
        assert set(group) <= set(lists[0])
        assert len(set(group)) == 1 or set(group) == set(lists[0])
        assert root_of(lists, algorithm) == tree.root


@given(st.sets(st.binary(min_size=32, max_size=32), min_size=2, max_size=30), st.data())
def test_no_other_list_leads_to_the_root(leaves: set[bytes], data: st.DataObject) -> None:
    tree = HashTree([[leaf] for leaf in leaves], SHA_256)
    lists = [list(each) for each in tree.reduce([data.draw(st.sampled_from(sorted(leaves)))])]
    at = data.draw(st.integers(0, len(lists) - 1))
    place = data.draw(st.integers(0, len(lists[at]) - 1))
    old = lists[at][place]
    lists[at][place] = bytes([old[0] ^ 1]) + old[1:]
    try:
        root = root_of(tuple(tuple(sorted(each)) for each in lists), SHA_256)
    except ProofError:
        return
    assert root != tree.root
