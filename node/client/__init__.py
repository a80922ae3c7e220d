"""The client of a chain, for applications and for the command line. See README.md."""

from node.client.application import Client
from node.client.blocks import ProvedBlock, ProvedTransaction
from node.client.chain import Chain
from node.client.events import BlockCommitted, Event, GovernanceDecided, TransactionFinal
from node.client.recording import Failed, InDoubt, Outlook, Recorded, UncheckedReceipt, WrongReceipt
from node.rpc.client import NetworkUnavailable, NotFinal, NotFound, Refused

__all__ = [
    "BlockCommitted",
    "Chain",
    "Client",
    "Event",
    "Failed",
    "GovernanceDecided",
    "InDoubt",
    "NetworkUnavailable",
    "NotFinal",
    "NotFound",
    "Outlook",
    "ProvedBlock",
    "ProvedTransaction",
    "Recorded",
    "Refused",
    "TransactionFinal",
    "UncheckedReceipt",
    "WrongReceipt",
]
