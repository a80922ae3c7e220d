"""The golden receipt, which has everything a format needs, and its files in every format."""

from __future__ import annotations

from dataclasses import replace

from node.cli.paper.render import render_pdf
from node.cli.paper.versions import PDF_SUFFIX
from node.timestamp.export import EXPORTS
from node.timestamp.receipt import Receipt
from tests.vectors.receipt.chain import Chain
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned, with_checkpoint
from tests.vectors.receipt.story import PLAIN, SET_0
from tests.vectors.receipt.tokens import authority_of, issuer_of, with_token

LATER_LEAVES = 20


def golden_receipt(chain: Chain) -> Receipt:
    """Return the receipt of the document, with a token, and a checkpoint of some blocks later."""
    receipt = with_token(chain.receipt(PLAIN, 1), issuer_of(authority_of(chain)))
    note = cosigned(checkpoint_at(chain, LATER_LEAVES), SET_0).encode()
    return replace(receipt, checkpoint=with_checkpoint(chain, receipt, note, LATER_LEAVES))


def golden_files(chain: Chain) -> dict[str, bytes]:
    """Return the golden receipt in every format, by the name of the file."""
    receipt = golden_receipt(chain)
    made = {export.suffix: export.make(receipt) for export in EXPORTS.values()}
    made[PDF_SUFFIX] = render_pdf(receipt)
    return {f"document.txt{suffix}": data for suffix, data in made.items() if data is not None}
