"""Liars among those who pass on transactions, bodies and blocks, and who send far too much."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from node.chain.block import CertifiedBlock
from node.chain.certificate import Phase, Subject
from node.consensus.messages import Reason, Status
from node.service.wire import (
    SYNC_BLOCKS_MAX,
    Blocks,
    Bodies,
    Message,
    Transactions,
    WantBlocks,
    WantBodies,
)
from tests.simulation.adversaries.forger import stuffed
from tests.simulation.adversaries.speaker import Speaker


def damaged(data: bytes, random: Random) -> bytes:
    """Return bytes cut short, or with some of them changed."""
    if random.randrange(3) == 0:
        return data[: random.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def false_status(random: Random) -> Status:
    """Return a word about a place where nobody stands."""
    return Status(
        random.choice((0, 0, 0, 1)),
        random.randrange(20),
        random.randrange(2) == 0,
        random.choice((0, 5, 50, 10**9)),
    )


def false_bodies(message: Message, random: Random) -> Bodies | None:
    """Return an answer in which a body is missing, repeated or damaged."""
    if not isinstance(message, Bodies) or not message.transactions:
        return None
    transactions = list(message.transactions)
    which = random.randrange(len(transactions))
    match random.randrange(3):
        case 0:
            del transactions[which]
        case 1:
            transactions.append(transactions[which])
        case _:
            transactions[which] = damaged(transactions[which], random)
    return replace(message, transactions=tuple(transactions))


def spoiled(message: Message) -> Transactions | None:
    """Return the same transactions, each under a signature that does not verify."""
    if not isinstance(message, Transactions):
        return None
    return Transactions(tuple(tx[:-1] + bytes((tx[-1] ^ 1,)) for tx in message.transactions))


def false_blocks(message: Message, speaker: Speaker, *, stuffs: bool) -> Blocks | None:
    """Return an answer in which a block is missing, or is not what its certificate is about."""
    if not isinstance(message, Blocks) or not message.blocks:
        return None
    random = speaker.random
    blocks = list(message.blocks)
    which = random.randrange(len(blocks))
    block = CertifiedBlock.decode(blocks[which], speaker.validator.genesis.suite)
    certificate = block.certificate
    if stuffs:
        false = replace(block, certificate=stuffed(certificate, random))
    else:
        match random.randrange(4):
            case 0:
                header = replace(block.header, time_ms=block.header.time_ms + 1)
                false = replace(block, header=header)
            case 1:
                false = replace(block, transactions=block.transactions[1:])
            case 2:
                fewer = replace(certificate, votes=certificate.votes[1:])
                false = replace(block, certificate=fewer)
            case _:
                del blocks[which]
                return replace(message, blocks=tuple(blocks))
    blocks[which] = false.encode()
    return replace(message, blocks=tuple(blocks))


def unwanted(speaker: Speaker) -> Message:
    """Return something sound of no use: each is another one, to be remembered in vain."""
    random, core_view = speaker.random, speaker.core.view
    view, height = core_view + random.randrange(10_000), random.randrange(10_000)
    match random.randrange(6):
        case 0 | 1:
            phase = random.choice(list(Phase))
            return speaker.vote(Subject(phase, view, height, random.randbytes(32)))
        case 2:
            reason = random.choice(list(Reason))
            return speaker.leaving_for(view + 1, clock_ms=height, reason=reason)
        case 3:
            return WantBodies(height, random.randbytes(32), ())
        case 4:
            return WantBlocks(1, SYNC_BLOCKS_MAX)
        case _:
            return Transactions((random.randbytes(200),))
