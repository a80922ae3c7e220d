"""The head of a security log, recorded on the chain: from then on nothing before it can change.

`receipts/SIZE.receipt` beside the log proves that the hash of its line SIZE - 1 was recorded, and
when. Anybody can check that offline, with the log, these receipts and a trust file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.client import Client
from node.crypto.suite import SHA_256
from node.errors import DecodeError, ProofError
from node.operations.topology import write_file
from node.storage.security_log import Head, read_log
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt

RECORD_TYPE: Final = "security-log"
RECEIPTS_FOLDER: Final = "receipts"
_SUFFIX: Final = ".receipt"


async def notarize_head(client: Client, folder: Path, head: Head) -> Path:
    """Record how far a log goes; return the receipt's file. Raises `ClientError`.

    What `head` names must be durable.
    """
    recorded = await client.notarize(head.digest, RECORD_TYPE)
    path = folder / RECEIPTS_FOLDER / f"{head.size:012d}{_SUFFIX}"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_file(path, recorded.receipt, mode=0o600)
    return path


@dataclass(frozen=True, slots=True)
class NotarizedHead:
    """A head that a receipt vouches for."""

    size: int
    height: int
    time_ms: int
    sender: str


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What a log and its receipts show."""

    head: Head
    notarized: tuple[NotarizedHead, ...]

    @property
    def vouched(self) -> int:
        """How many lines the chain vouches for: from the first on."""
        return self.notarized[-1].size if self.notarized else 0


def verify_log(folder: Path, anchor: TrustAnchor) -> LogVerdict:
    """Verify a log and its receipts offline; raises `ProofError` for the first that does not hold.

    That lines after the last receipt are missing cannot be seen.
    """
    receipts = dict(_receipts(folder))
    notarized: list[NotarizedHead] = []
    head = Head(0, bytes(32))
    for entry in read_log(folder):
        head = Head(entry.number + 1, entry.digest)
        path = receipts.pop(head.size, None)
        if path is not None:
            notarized.append(_judge(path, head, anchor))
    if receipts:
        size = min(receipts)
        raise ProofError(
            "log-size", f"{receipts[size].name}: {size} lines were recorded, {head.size} are there"
        )
    return LogVerdict(head, tuple(notarized))


def _judge(path: Path, head: Head, anchor: TrustAnchor) -> NotarizedHead:
    document = NamedDigest(SHA_256, head.digest)
    verdict = verify_receipt(path.read_bytes(), anchor, document)
    found = verdict.attestation
    if verdict.outcome is not Outcome.VERIFIED or found is None:
        failure = verdict.failure
        detail = "" if failure is None else failure.detail
        raise ProofError("log-receipt", f"{path.name}: {detail}")
    return NotarizedHead(head.size, found.height, found.time_ms, found.sender)


def _receipts(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted((folder / RECEIPTS_FOLDER).glob(f"*{_SUFFIX}")):
        digits = path.name.removesuffix(_SUFFIX)
        if not (digits.isascii() and digits.isdigit()):
            raise DecodeError(f"{path}: expected a name such as 000000000042{_SUFFIX}")
        yield int(digits), path
