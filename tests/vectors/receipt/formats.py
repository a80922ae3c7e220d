"""The golden receipt, which has everything a format needs, and its files in every format."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from node.cli.paper.render import render_pdf
from node.cli.paper.versions import PDF_SUFFIX
from node.crypto.suite import SHA_256
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.export import COSE_SUFFIX, EXPORTS, cose_receipt_of
from node.timestamp.receipt import Receipt
from node.timestamp.refreshed import REFRESHED_SUFFIX
from node.timestamp.tokens.issuing import Coordinates, Stamp
from node.timestamp.tokens.request import Imprint
from tests.vectors.receipt.chain import Chain
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned, with_checkpoint
from tests.vectors.receipt.story import FIRST_OF_EPOCH_2, PLAIN, SET_0
from tests.vectors.receipt.tokens import authority_of, issuer_of, with_token

LATER_LEAVES = 20
LATER_HEIGHT = 5


def golden_receipt(chain: Chain) -> Receipt:
    """Return the receipt of the document, with a token, and a checkpoint of some blocks later."""
    receipt = with_token(chain.receipt(PLAIN, 1), issuer_of(authority_of(chain)))
    note = cosigned(checkpoint_at(chain, LATER_LEAVES), SET_0).encode()
    return replace(receipt, checkpoint=with_checkpoint(chain, receipt, note, LATER_LEAVES))


def stamp_of(signed: bytes, chain: Chain, at_ms: int) -> bytes:
    """Return a token over bytes, by validator-1's authority."""
    stamp = Stamp(
        imprint=Imprint.of(SHA_256, hashlib.sha256(signed).digest()),
        coordinates=Coordinates.of(chain.genesis.chain_id, LATER_HEIGHT, 1),
        time_ms=at_ms,
    )
    return issuer_of(authority_of(chain)).issue(stamp)


def golden_stamped(chain: Chain) -> bytes:
    """Return the golden COSE Receipt with a token over its signature, of a minute later."""
    receipt = golden_receipt(chain)
    made = cose_receipt_of(receipt)
    if made is None:
        raise ValueError("the golden receipt has a COSE signature")
    at_ms = receipt.block.header.time_ms + 60_000
    return replace(made, token=stamp_of(made.stamped_bytes, chain, at_ms)).encode()


def golden_join(chain: Chain) -> ConsistencyProof:
    """Return what joins the golden receipt to a block of epoch 2."""
    return chain.consistency(PLAIN, FIRST_OF_EPOCH_2)


def golden_files(chain: Chain) -> dict[str, bytes]:
    """Return the golden receipt in every format, by the name of the file; and refreshed.

    That in the formats with room for what joins it to a later block.
    """
    receipt, join = golden_receipt(chain), golden_join(chain)
    made = {export.suffix: export.make(receipt) for export in EXPORTS.values()}
    made[PDF_SUFFIX] = render_pdf(receipt)
    made[f".stamped{COSE_SUFFIX}"] = golden_stamped(chain)
    made |= {
        _refreshed(export.joined_suffix): export.make(receipt, join)
        for export in EXPORTS.values()
        if export.joined_suffix is not None
    }
    made[_refreshed(PDF_SUFFIX)] = render_pdf(receipt, join)
    return {f"document.txt{suffix}": data for suffix, data in made.items() if data is not None}


def _refreshed(suffix: str) -> str:
    return suffix if suffix == REFRESHED_SUFFIX else f"{REFRESHED_SUFFIX}{suffix}"
