"""The transactions that a load run is made of."""

from __future__ import annotations

from pathlib import Path

from node.chain.record import Notarization
from node.chain.transaction import Transaction, verify_transaction
from node.cli.bench.client import TRANSACTION_BYTES, Stock
from node.cli.network import Network
from tests.unit.cli.command import run


def test_transactions_of_the_load_are_sound_distinct_and_of_the_size_they_claim(
    tmp_path: Path,
) -> None:
    assert run("testnet", "init", "--home", tmp_path / "net", "-n", 1).code == 0
    network = Network.open(tmp_path / "net", None, None)
    stocks = [Stock(network, 3, "1/1/1"), Stock(network, 3, "1/1/2")]  # two processes
    stocks[0].fill(4)
    assert stocks[0].signed == 6  # whole batches
    encoded = [each for stock in stocks for _ in range(3) for each in stock.take()]
    assert stocks[0].signed == stocks[1].signed == 9  # the rest is signed when it is wanted
    assert {len(each) for each in encoded} == {TRANSACTION_BYTES}
    transactions = [Transaction.decode(each, network.suite) for each in encoded]
    for transaction in transactions:
        verify_transaction(transaction, network.signer.public_key)
        assert transaction.body.payload.count == 1
    payloads = [transaction.body.payload for transaction in transactions]
    references = [(p.references or ())[0] for p in payloads if isinstance(p, Notarization)]
    assert len(set(references)) == len({each.tx_id for each in transactions}) == 18
    assert stocks[0].signing_s > 0
    again = Stock(network, 3, "1/1/1").take()
    repeated = [Transaction.decode(each, network.suite).body.payload for each in again]
    assert all(payload in payloads for payload in repeated)  # the same name, the same records


def test_transactions_of_many_records_are_as_sound(tmp_path: Path) -> None:
    assert run("testnet", "init", "--home", tmp_path / "net", "-n", 1).code == 0
    network = Network.open(tmp_path / "net", None, None)
    stock = Stock(network, 1, "1/1/1", 10_000)
    transactions = [Transaction.decode(stock.take()[0], network.suite) for _ in range(2)]
    digests = set()
    for transaction in transactions:
        verify_transaction(transaction, network.signer.public_key)
        payload = transaction.body.payload
        assert isinstance(payload, Notarization)
        assert (payload.count, payload.references) == (10_000, None)
        digests |= {*payload.split_digests()}
    assert len(digests) == 20_000
