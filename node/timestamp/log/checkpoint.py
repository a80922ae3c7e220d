"""Checkpoints of the log in public form: three lines, and which keys of a chain sign them.

Source: c2sp.org/tlog-checkpoint. A checkpoint is a signed note of exactly three lines: the origin,
which names the log, its size, and its root. Lines after those are refused: nobody audits them.

Our log has no key of its own, so it signs by its validators: each one's cosignature key signs
twice, as the log under the log's name and as a cosigner under its own. node/adr/0013 says why.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.chain.encoding import UINT64_MAX
from node.chain.membership import Validator, ValidatorSet
from node.chain.merkle import DIGEST_BYTES, TreeHead
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.log.note import (
    Note,
    NoteSignature,
    SignatureType,
    SignedLine,
    VerifierKey,
    from_base64,
    to_base64,
)

_LINES: Final = 3
_DECIMAL: Final = re.compile("0|[1-9][0-9]{0,19}")
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says, whoever signs it."""

    origin: str
    head: TreeHead

    @property
    def text(self) -> str:
        """Return the three lines, each with its line feed."""
        return f"{self.origin}\n{self.head.size}\n{to_base64(self.head.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read exactly three lines; raises `DecodeError`."""
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[-1] or not lines[0]:
            raise DecodeError("checkpoint: expected exactly three lines: origin, size, root")
        origin, size, root = lines[:_LINES]
        digest = from_base64(root, "checkpoint root", size_max=DIGEST_BYTES)
        if len(digest) != DIGEST_BYTES:
            raise DecodeError(f"checkpoint root: expected {DIGEST_BYTES} bytes, got {len(digest)}")
        return cls(origin, TreeHead(parse_decimal(size, "checkpoint size"), digest))


@dataclass(frozen=True, slots=True)
class Collected:
    """A checkpoint that a quorum of one set of validators cosigned, checked."""

    checkpoint: Checkpoint
    validators: ValidatorSet
    cosignatures: tuple[SignedLine, ...]
    """In the order of the set."""

    @property
    def cosigners(self) -> tuple[str, ...]:
        """Return the validator ids, in the order of the set."""
        ids = [each.validator_id for each in self.validators.validators]
        by_name = {cosigner_name(self.checkpoint.origin, each): each for each in ids}
        return tuple(by_name[line.key.name] for line in self.cosignatures)


def origin_of(chain_id: bytes) -> str:
    """Return the name of a chain's log, its first line in every checkpoint."""
    return f"govchain/{chain_id.hex()}"


def cosigner_name(origin: str, validator_id: str) -> str:
    """Return the name under which a validator cosigns the log of `origin`."""
    return f"{origin}/{quoted(validator_id)}"


def is_of_log(name: str, origin: str) -> bool:
    """Tell whether a key's name is that of a log, or of a validator who cosigns it."""
    return name == origin or name.startswith(f"{origin}/")


def quoted(validator_id: str) -> str:
    """Return an id with everything percent-encoded that could not stand in a name or a URL."""
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in validator_id.encode()
    )


def members_that_sign(validators: ValidatorSet) -> tuple[Validator, ...]:
    """Return the members whose cosignature keys can be counted, in the order of the set.

    Nothing on the chain keeps a member from naming a key that is none, or somebody else's: the one
    cannot sign, and the other would make one signature count as two. The first holder counts.
    """
    sound: dict[bytes, Validator] = {}
    for each in validators.validators:
        try:
            validators.suite.load_cosignature_key(each.cosignature_key)
        except CryptoError:
            continue
        sound.setdefault(each.cosignature_key, each)
    return tuple(sound.values())


def log_key(origin: str, validator: Validator) -> VerifierKey:
    """Return the key by which a validator signs as the log; raises `DecodeError`."""
    return VerifierKey.of(origin, SignatureType.LOG, validator.cosignature_key)


def cosigner_key(origin: str, validator: Validator) -> VerifierKey:
    """Return the key by which a validator cosigns; raises `DecodeError`."""
    name = cosigner_name(origin, validator.validator_id)
    return VerifierKey.of(name, SignatureType.COSIGNATURE, validator.cosignature_key)


def collect(
    checkpoint: Checkpoint, log_line: NoteSignature, cosignatures: Sequence[NoteSignature]
) -> Note:
    """Return the note that serves a checkpoint: one line of the log, then its cosignatures.

    `cosignatures` come in the order of the set.
    """
    return Note(checkpoint.text, (log_line, *cosignatures))


def check_collected(note: Note, chain_id: bytes, validators: ValidatorSet) -> Collected:
    """Check that a quorum of `validators` cosigned this checkpoint of their chain.

    One line of the log, then cosignatures in the order of the set, and nothing else: so every byte
    counts. Raises `ProofError` or `DecodeError`.
    """
    checkpoint = Checkpoint.parse(note.text)
    origin = origin_of(chain_id)
    if checkpoint.origin != origin:
        raise ProofError("checkpoint-origin", f"expected {origin}, got {checkpoint.origin:.80}")
    members = members_that_sign(validators)
    log_lines = note.signed_by(log_key(origin, each) for each in members)
    lines = note.signed_by(cosigner_key(origin, each) for each in members)
    if len(log_lines) != 1:
        raise ProofError("checkpoint-log", f"expected one line of the log, got {len(log_lines)}")
    if len(lines) < validators.quorum:
        raise ProofError(
            "checkpoint-quorum", f"expected {validators.quorum} cosignatures, got {len(lines)}"
        )
    if note != collect(checkpoint, log_lines[0].line, [each.line for each in lines]):
        raise ProofError("checkpoint-lines", "expected no other lines, in the order of the set")
    return Collected(checkpoint, validators, lines)


def parse_decimal(text: str, what: str) -> int:
    """Read an ASCII decimal with no leading zeros, below 2**64; raises `DecodeError`."""
    value = int(text) if _DECIMAL.fullmatch(text) else UINT64_MAX + 1
    if value > UINT64_MAX:
        raise DecodeError(f"{what}: expected a decimal below 2**64, got {text!r:.40}")
    return value
