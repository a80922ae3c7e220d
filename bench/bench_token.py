"""Time-stamp tokens: issued and verified, per second on one core.

As a command, `python -m bench.bench_token`, it issues many in a row and tells how many a second of
processor time there were: a figure that is steadier than the time of single ones on a busy machine.
"""

from __future__ import annotations

import os
import statistics
import time
from itertools import count
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_benchmark.fixture import BenchmarkFixture

from node.timestamp.tokens.issuing import Stamp, add_chain_proof
from node.timestamp.tokens.request import TimeStampRequest
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.timestamp.authority import COORDINATES, ISSUER, TIME_MS, TSA_KEY, imprint_of, stamp
from tests.unit.timestamp.tokens.test_of_record import ANCHOR, TSR
from tests.vectors.receipt.case import DIGEST

ROUNDS: Final = 9
TOKENS_PER_ROUND: Final = 20_000


def test_issue_token(benchmark: BenchmarkFixture) -> None:
    """The bar is 20,000 a second."""
    stamps = (stamp(time_ms=TIME_MS + number % 1_000_000) for number in count())
    token = benchmark(lambda: ISSUER.issue(next(stamps)))
    assert len(token) > 800


def test_sign_alone(benchmark: BenchmarkFixture) -> None:
    """What the library takes for the signature of a token, without the token."""
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    signature = benchmark(TSA_KEY.private_key.sign, bytes(160), algorithm)
    assert len(signature) > 60


def test_answer_request(benchmark: BenchmarkFixture) -> None:
    request = TimeStampRequest(imprint=imprint_of(), nonce=b"\x01" * 8, wants_certificates=True)
    encoded = request.encode()

    def answer() -> bytes:
        asked = TimeStampRequest.decode(encoded)
        return ISSUER.issue(Stamp.answering(asked, COORDINATES, TIME_MS))

    assert len(benchmark(answer)) > 800


def test_add_chain_proof(benchmark: BenchmarkFixture) -> None:
    token = ISSUER.issue(stamp())
    assert len(benchmark(add_chain_proof, token, bytes(3_000))) > 3_800


def test_verify_tsr(benchmark: BenchmarkFixture) -> None:
    verdict = benchmark(verify_receipt, TSR, ANCHOR, NamedDigest.parse(DIGEST))
    assert verdict.outcome is Outcome.VERIFIED


def main() -> None:
    """Issue rounds of tokens and tell the rate of each, and the median."""
    rates = []
    for _ in range(ROUNDS):
        stamps = [stamp(time_ms=TIME_MS + number) for number in range(TOKENS_PER_ROUND)]
        begun_s = time.process_time()
        for each in stamps:
            ISSUER.issue(each)
        rates.append(TOKENS_PER_ROUND / (time.process_time() - begun_s))
    told = ", ".join(f"{rate:,.0f}" for rate in sorted(rates))
    load = os.getloadavg()[0]
    print(f"{statistics.median(rates):,.0f} tokens per second and core: {told}; load {load:.1f}")


if __name__ == "__main__":
    main()
