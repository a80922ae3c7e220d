"""C2SP tlog-policy files: whose signatures make a checkpoint valid. Reading, making, applying them.

Source: c2sp.org/tlog-policy. Of a chain there is one policy per epoch, made by `policy_of`: every
validator's log key, every validator as a witness, and a quorum of them. An auditor may add outside
witnesses to the file; it is read and applied as the format says, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.chain.membership import ValidatorSet
from node.errors import DecodeError, ProofError
from node.timestamp.log.checkpoint import (
    Checkpoint,
    cosigner_key,
    is_of_log,
    log_key,
    members_that_sign,
    origin_of,
    quoted,
)
from node.timestamp.log.note import Note, SignatureType, SignedLine, VerifierKey

POLICY_BYTES_MAX: Final = 262_144
ENTRIES_MAX: Final = 256
"""Logs, witnesses and groups, each; 32 must be taken."""

LOG_RULE: Final = "policy-log"
QUORUM_RULE: Final = "policy-quorum"
"""Broken where nothing is wrong but that too few of those who signed are known."""

_QUORUM_NAME: Final = "validators"
_NO_QUORUM: Final = "none"
_REFUSED_BYTE: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_THRESHOLD: Final = re.compile("[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Group:
    """Counts as a witness where at least `threshold` of its members do."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPolicy:
    """Which logs are known, which witnesses, and which of those are enough."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, VerifierKey]
    """By the names that groups use, which mean nothing elsewhere."""
    groups: Mapping[str, Group]
    quorum: str | None
    """A witness or a group; None asks for none."""

    def knows(self, origin: str) -> bool:
        """Tell whether the policy names a log of this origin."""
        return any(key.name == origin for key in self.logs)

    def strangers(self, note: Note, origin: str) -> tuple[str, ...]:
        """Return who else signed a note as this log, by its origin, or as one of its validators.

        Validators are told by what follows the origin in their names. Nothing is known of these
        signatures: the policy has no such keys.
        """
        keys = {(key.name, key.key_id) for key in (*self.logs, *self.witnesses.values())}
        return tuple(
            line.name.removeprefix(f"{origin}/")
            for line in note.signatures
            if (line.name, line.key_id) not in keys and is_of_log(line.name, origin)
        )

    def check(self, note: Note) -> Cosigned:
        """Check that a checkpoint is valid by this policy.

        Raises `DecodeError` for what is no checkpoint, `ProofError` otherwise: `policy-origin` for
        a log that the policy does not know, `policy-log`, `policy-quorum`, or what a line broke.
        """
        checkpoint = Checkpoint.parse(note.text)
        logs = [key for key in self.logs if key.name == checkpoint.origin]
        if not logs:
            raise ProofError("policy-origin", f"no log is named {checkpoint.origin:.120}")
        signed, cosigned = note.signed_by(logs), note.signed_by(self.witnesses.values())
        if not signed:
            raise ProofError(LOG_RULE, "no line of a log that the policy knows")
        names = {str(key): name for name, key in self.witnesses.items()}
        witnessed = [names[str(line.key)] for line in cosigned]
        if not self._is_enough(witnessed):
            raise ProofError(
                QUORUM_RULE,
                f"{self.quorum} asks for more than {', '.join(witnessed) or 'none'}",
            )
        return Cosigned(checkpoint, tuple(witnessed), cosigned)

    def _is_enough(self, witnessed: Sequence[str]) -> bool:
        if self.quorum is None:
            return True
        holds = dict.fromkeys(witnessed, True)
        for name, group in self.groups.items():  # each speaks only of those before it
            counted = [member for member in group.members if holds.get(member, False)]
            holds[name] = len(counted) >= group.threshold
        return holds.get(self.quorum, False)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that is valid by a policy."""

    checkpoint: Checkpoint
    witnesses: tuple[str, ...]
    """As the policy names them, in its order."""
    cosignatures: tuple[SignedLine, ...]

    @property
    def seal_time_s(self) -> int | None:
        """Return the lower median of the cosignatures' times, seconds since 1970; None of none."""
        times = sorted(line.time_s or 0 for line in self.cosignatures)
        return times[(len(times) - 1) // 2] if times else None


def policy_of(chain_id: bytes, validators: ValidatorSet) -> str:
    """Return the policy file of an epoch: a quorum of its validators cosigned the chain's log.

    Raises `DecodeError` where fewer members than a quorum have a key that can sign.
    """
    origin, members = origin_of(chain_id), members_that_sign(validators)
    if len(members) < validators.quorum:
        raise DecodeError(f"policy of epoch {validators.epoch}: too few sound cosignature keys")
    names = [f"validator/{quoted(each.validator_id)}" for each in members]
    lines = [
        f"# The log of chain {chain_id.hex()} in epoch {validators.epoch}:",
        f"# {validators.quorum} of {validators.size} validators cosign a checkpoint.",
        *(f"log {log_key(origin, each)}" for each in members),
        *(
            f"witness {name} {cosigner_key(origin, each)}"
            for name, each in zip(names, members, strict=True)
        ),
        f"group {_QUORUM_NAME} {validators.quorum} {' '.join(names)}",
        f"quorum {_QUORUM_NAME}",
    ]
    return "".join(f"{line}\n" for line in lines)


def parse_policy(data: bytes) -> LogPolicy:
    """Read a policy file; raises `DecodeError` naming the line."""
    if len(data) > POLICY_BYTES_MAX:
        raise DecodeError(f"policy: expected at most {POLICY_BYTES_MAX} bytes, got {len(data)}")
    if data and not data.endswith(b"\n"):
        raise DecodeError("policy: expected a line feed at its end")
    if _REFUSED_BYTE.search(data):
        raise DecodeError("policy: expected no control characters but tab and line feed")
    reader = _Reader()
    # Names are octets to the format; this keeps them apart, UTF-8 or not.
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if words and not words[0].startswith("#"):
            try:
                reader.take(words)
            except DecodeError as error:
                raise DecodeError(f"policy line {number}: {error}") from error
    return reader.policy()


@dataclass(slots=True)
class _Reader:
    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: list[str] = field(default_factory=list)

    def take(self, words: Sequence[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._keep_log(VerifierKey.parse(vkey))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._keep_witness(name, VerifierKey.parse(vkey))
            case ["group", name, threshold, *members] if members:
                self._keep_group(name, threshold, members)
            case ["quorum", name] if not self.quorum:
                if name != _NO_QUORUM:
                    self._require_known(name)
                self.quorum.append(name)
            case _:
                raise DecodeError(f"expected log, witness, group or one quorum, got {words[0]:.40}")

    def policy(self) -> LogPolicy:
        if not self.quorum:
            raise DecodeError("policy: expected a quorum")
        return LogPolicy(
            logs=tuple(self.logs),
            witnesses=self.witnesses,
            groups=self.groups,
            quorum=None if self.quorum == [_NO_QUORUM] else self.quorum[0],
        )

    def _keep_log(self, key: VerifierKey) -> None:
        if any(key.key == each.key for each in self.logs):
            raise DecodeError("a log's key occurs twice")
        self.logs.append(key)
        _check_count(self.logs)

    def _keep_witness(self, name: str, key: VerifierKey) -> None:
        self._require_new(name)
        if key.signature_type is not SignatureType.COSIGNATURE:
            raise DecodeError(f"witness {name:.80}: expected a cosignature key")
        if any(key.key == each.key for each in self.witnesses.values()):
            raise DecodeError("a witness's key occurs twice")
        self.witnesses[name] = key
        _check_count(self.witnesses)

    def _keep_group(self, name: str, threshold: str, members: Sequence[str]) -> None:
        self._require_new(name)
        taken = [member for group in self.groups.values() for member in group.members]
        for at, member in enumerate(members):
            self._require_known(member)
            if member in taken or member in members[:at]:
                raise DecodeError(f"{member:.80} is in a group already")
        named = {"any": 1, "all": len(members)}
        if threshold not in named and not _THRESHOLD.fullmatch(threshold):
            raise DecodeError(f"group {name:.80}: expected any, all or a number")
        wanted = named[threshold] if threshold in named else int(threshold)
        if wanted > len(members):
            raise DecodeError(f"group {name:.80}: expected at most {len(members)}, got {wanted}")
        self.groups[name] = Group(wanted, tuple(members))
        _check_count(self.groups)

    def _require_known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise DecodeError(f"{name:.80} is not defined before")

    def _require_new(self, name: str) -> None:
        if name == _NO_QUORUM or name in self.witnesses or name in self.groups:
            raise DecodeError(f"{name:.80} is defined already")


def _check_count(entries: Sequence[object] | Mapping[str, object]) -> None:
    if len(entries) > ENTRIES_MAX:
        raise DecodeError(f"expected at most {ENTRIES_MAX} of a kind")
