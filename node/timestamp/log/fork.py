"""Proof that a log was forked: two cosigned checkpoints that cannot be of one log, and who did it.

The proof is a text file anyone can check alone. Its first line names the form; then, where the
checkpoints differ in size, come the hashes of a path as `prefix_roots` takes it, in base64, one per
line; then, each after an empty line, the checkpoints as signed notes, the smaller one first:

- of equal sizes, their roots differ, and there is no path;
- else the path leads to the root of the larger one, and shows that its log began, at the size of
  the smaller one, with another root.

Whoever cosigned both said of each that it was the consistent log, and lied at least once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from node.chain.log import ReadTile, prefix_path_from_tiles
from node.chain.membership import ValidatorSet
from node.chain.merkle import prefix_roots
from node.errors import DecodeError, ProofError
from node.timestamp.log.checkpoint import (
    Checkpoint,
    cosigner_key,
    members_that_sign,
    origin_of,
)
from node.timestamp.log.note import (
    NOTE_BYTES_MAX,
    Note,
    VerifierKey,
    decode_text,
    split_note,
    to_base64,
)
from node.timestamp.log.proof import parse_hashes, sha256

FORK_PROOF_SUFFIX: Final = ".fork-proof"
FORK_PROOF_BYTES_MAX: Final = 2 * NOTE_BYTES_MAX + 16_384
FIRST_LINE: Final = "govchain.fork-proof@v1"
_PATH_HASHES_MAX: Final = 65


@dataclass(frozen=True, slots=True)
class ForkProof:
    """Two checkpoints and what shows that they contradict each other; untrusted until checked."""

    path: tuple[bytes, ...]
    smaller: Note
    larger: Note

    def encode(self) -> bytes:
        """Return the text of the proof."""
        head = "".join(f"{line}\n" for line in [FIRST_LINE, *map(to_base64, self.path)])
        return b"\n".join([head.encode(), self.smaller.encode(), self.larger.encode()])

    @classmethod
    def decode(cls, data: bytes) -> ForkProof:
        """Read a proof; raises `DecodeError`."""
        text = decode_text(data, "fork proof", size_max=FORK_PROOF_BYTES_MAX)
        parts = text.split("\n\n")
        if len(parts) != len(("head", "text", "lines", "text", "lines")):
            raise DecodeError("fork proof: expected a head and two signed notes")
        head, small_text, small_lines, large_text, large_lines = parts
        first, *path = head.split("\n")
        if first != FIRST_LINE or len(path) > _PATH_HASHES_MAX:
            raise DecodeError(f"fork proof: expected the first line {FIRST_LINE} and a path")
        proof = cls(
            parse_hashes(path, "fork proof path"),
            Note(*split_note(f"{small_text}\n\n{small_lines}\n")),
            Note(*split_note(f"{large_text}\n\n{large_lines}")),
        )
        if proof.encode() != data:
            raise DecodeError("fork proof: expected its one form")
        return proof

    def check(self) -> tuple[Checkpoint, Checkpoint]:
        """Return the checkpoints, if they cannot be of one log, whoever signed them.

        Raises `DecodeError` or `ProofError`: `fork-origin`, `fork-path`, `fork-none`.
        """
        smaller, larger = Checkpoint.parse(self.smaller.text), Checkpoint.parse(self.larger.text)
        if smaller.origin != larger.origin:
            raise ProofError("fork-origin", f"{smaller.origin:.80} is not {larger.origin:.80}")
        old, new = smaller.head, larger.head
        prefix = new.root
        if old.size != new.size:
            prefix, root = prefix_roots(old.size, new.size, self.path, sha256)
            if root != new.root:
                raise ProofError("fork-path", "the path does not lead to the larger root")
        elif self.path:
            raise ProofError("fork-path", "expected no path between equal sizes")
        if prefix == old.root:
            raise ProofError("fork-none", "these checkpoints are of one log")
        return smaller, larger

    def guilty(self, keys: Iterable[VerifierKey]) -> tuple[str, ...]:
        """Return the names of the keys that cosigned both checkpoints; raises `ProofError`."""
        known = tuple(keys)
        first = {line.key.name for line in self.smaller.signed_by(known)}
        return tuple(
            line.key.name for line in self.larger.signed_by(known) if line.key.name in first
        )


def cosigners(chain_id: bytes, sets: Sequence[ValidatorSet]) -> tuple[VerifierKey, ...]:
    """Return the cosigner keys of all these sets, each once."""
    origin = origin_of(chain_id)
    keys = [cosigner_key(origin, each) for held in sets for each in members_that_sign(held)]
    return tuple({str(key): key for key in keys}.values())


def compare(first: Note, second: Note, read_tile: ReadTile) -> ForkProof | None:
    """Return the proof that two checkpoints of one log contradict each other; None if they agree.

    `read_tile` reads the log of the larger one, whoever serves it: nothing it says is believed.
    Raises `ProofError` (`fork-tiles`) if it does not have the root it should, `DecodeError` for
    what is no checkpoint, or what `read_tile` raises.
    """
    smaller, larger = sorted(
        (first, second), key=lambda note: Checkpoint.parse(note.text).head.size
    )
    old, new = Checkpoint.parse(smaller.text).head, Checkpoint.parse(larger.text).head
    if old.size == new.size:
        return None if old.root == new.root else ForkProof((), smaller, larger)
    if not old.size:
        return None
    path = prefix_path_from_tiles(old.size, new.size, read_tile, sha256)
    prefix, root = prefix_roots(old.size, new.size, path, sha256)
    if root != new.root:
        raise ProofError("fork-tiles", "the tiles served are not those of the checkpoint served")
    return None if prefix == old.root else ForkProof(tuple(path), smaller, larger)
