"""What stands under a reference by now: every validator asked, and the newest proof counts."""

from __future__ import annotations

from functools import partial
from typing import Final

from node.chain.reference import ReferenceName
from node.client.chain import WRONG_ANSWER, Chain
from node.errors import ClientError
from node.rpc.client import LedgerClient
from node.rpc.connection import judge
from node.timestamp.receipt import Receipt
from node.timestamp.standing import StandingVerdict, verify_standing
from node.timestamp.trust import TrustAnchor

_ASK_MS: Final = 5_000


async def ask_standing(
    chain: Chain,
    client: LedgerClient,
    name: ReferenceName,
    anchor: TrustAnchor,
    receipt: Receipt | None = None,
) -> tuple[bytes, StandingVerdict]:
    """Ask every validator, and return the newest proof that verifies, with its verdict.

    By an anchor of the chain, and what leads on from it.

    So one that is behind, or shows an old state on purpose, is outdone by any that does not.
    Raises what `judge` returns where none answers, `ClientError` GC-2305 where no proof verifies.
    """
    answers = await client.standing_proofs(name, _ASK_MS)
    proofs = [each for each in answers.values() if isinstance(each, bytes)]
    if not proofs:
        raise judge([each for each in answers.values() if isinstance(each, ClientError)])
    best: tuple[bytes, StandingVerdict] | None = None
    height, failure = -1, ""
    for proof in proofs:
        verify = partial(_verify, proof, name, receipt)
        try:
            verdict = await chain.judge(client, anchor, verify)
        except ClientError as error:
            if error.code != WRONG_ANSWER:
                raise
            failure = str(error)
            continue
        if verdict.attestation is not None and verdict.attestation.height > height:
            best, height = (proof, verdict), verdict.attestation.height
        elif verdict.failure is not None:
            failure = verdict.failure.detail
    if best is None:
        raise ClientError(failure, code=WRONG_ANSWER)
    return best


def _verify(
    proof: bytes, name: ReferenceName, receipt: Receipt | None, anchor: TrustAnchor
) -> StandingVerdict:
    return verify_standing(proof, anchor, name, receipt)
