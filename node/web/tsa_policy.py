"""`GET /tsa/policy`: under which policy this node stamps time (RFC 3161).

The figures are those in force on the chain when it is asked for; the sentences are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from node.chain.genesis import Parameters
from node.crypto.suite import DOCUMENT_DIGESTS
from node.timestamp.tokens.issuing import POLICY
from node.web.app import Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFacts:
    """What differs between chains, epochs and nodes."""

    chain_id: bytes
    node_id: str
    identity_id: str
    """Under which requests are recorded."""
    epoch: int
    parameters: Parameters
    """In force in that epoch."""
    requests_per_minute: int
    """Of one client."""
    is_testnet: bool


def routes(facts: Callable[[], PolicyFacts]) -> Routes:
    """Return what serves the policy by the `facts` of the moment."""

    async def policy(_request: Request) -> PlainTextResponse:
        return PlainTextResponse(render(facts()), headers={"Cache-Control": "no-cache"})

    return [Route("/tsa/policy", policy, methods=["GET"])]


def render(facts: PolicyFacts) -> str:
    """Return the policy as text."""
    parameters = facts.parameters
    digests = ", ".join(digest.name for digest in DOCUMENT_DIGESTS)
    trial = _TRIAL if facts.is_testnet else ""
    return f"""\
Time-stamping policy  {POLICY}
Chain                 {facts.chain_id.hex()}
Node                  {facts.node_id}, recording under {facts.identity_id}
Figures as of         epoch {facts.epoch}
{trial}
1. What a token states. The digest in it was recorded on the chain in the block that its serial
   number names, and genTime is the time T that the validators of the chain agreed on for that
   block. It says nothing of what the digest is of, nor of who asked.
2. Accuracy. T is within {parameters.accuracy_ms} ms of UTC as long as fewer than a third of the
   validators are at fault and the clocks of the others are within {parameters.clock_error_ms} ms.
   A validator votes for T only if it is at most {parameters.precision_ms} ms ahead of its clock and
   {parameters.message_delay_ms} + {parameters.precision_ms} ms behind it, somewhat more after views
   that failed, never beyond the accuracy. Tokens state the accuracy in force for their block.
3. When there is none. No token is given while this node is not ready or its clock is not fit
   (timeNotAvailable), nor for a block whose time the validators flagged as degraded, nor where the
   certificate was not valid at T. Leap seconds: a token never shows second 60.
4. Order. `ordering` is not set: many digests share one T. The serial number is 01, 7 bytes of the
   chain id, 6 of the height and 6 of the place in the log: among tokens of one chain, the place
   orders them.
5. What is taken. Digests by {digests}; this policy or none; no extensions. One client may ask
   {facts.requests_per_minute} times a minute. Each request is recorded, the same one again too.
   A token asked for without certificates goes with those served here, at /tsa/certificates.
6. Proof. The unsigned attribute of a token holds the receipt of the record: its path in the log
   and the signatures of a quorum. The signature of the token is one node's word; the receipt is
   the chain's, and is what counts where they could differ.
7. Keys. ECDSA on P-256 with SHA-256, one key per node, under the authority of its organisation;
   a certificate for time-stamping alone. The same record and request give the same token again.
"""


_TRIAL = """
THIS IS A TRIAL: clocks are judged by each other alone, and nothing here has any standing.
"""
