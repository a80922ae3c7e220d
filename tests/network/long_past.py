"""A long past for a network that has not started: a chain signed with its validators' own keys."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import closing

from node.assembly.engines import open_database
from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote, build_certificate
from node.chain.genesis import Genesis
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
)
from node.config import NodeConfig
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.crypto.signature import Signer
from node.execution.apply import BlockInputs, ExecutedBlock, Executor
from node.limits import TX_LIFETIME_MS_MAX
from node.operations.provision import DEFAULT_IDENTITY
from node.operations.topology import SECRET_FILE
from node.service.home import VOTE_KEY_FILE, log_identity
from node.service.log_records import CommittedRecord, encode_log_record
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.wal import WriteAheadLog
from tests.network.local_network import LocalNetwork

STEP_MS = 10


def give_past(
    network: LocalNetwork, validator_ids: Sequence[str], blocks: int, *, old_blocks: int = 0
) -> None:
    """Make the first `blocks` blocks, of one transaction each, the ledger of some validators.

    After the first `old_blocks` nothing happens for longer than a transaction can live.
    """
    genesis = network.genesis
    secret = KeyFileSecret.load(network.home / SECRET_FILE)
    validators = [validator.validator_id for validator in genesis.validators.validators]
    voters = [
        load_signer(network.folder(name) / VOTE_KEY_FILE, secret, KeyPurpose.VOTE)
        for name in validators[: genesis.validators.quorum]
    ]
    executor = Executor(genesis)
    first, *others = (NodeConfig.load(network.folder(name)) for name in validator_ids)
    store = open_database(first.data, create=True, storage=first.storage)
    ledger = LedgerStore.open(store, genesis.suite, executor.genesis_block())
    for height in range(1, blocks + 1):
        inputs = BlockInputs(
            height=height,
            view=0,
            time_ms=genesis.created_ms
            + height * STEP_MS
            + (TX_LIFETIME_MS_MAX if height > old_blocks > 0 else 0),
            time_degraded=False,
            proposer=0,
        )
        executed = executor.execute(ledger, inputs, [_transaction(network, inputs.time_ms)])
        ledger.commit([(executed, _certificate(network, executed, voters))], sync=False)
    for config in (first, *others):
        _log_newest(config, genesis, ledger)
    ledger.sync()
    pairs = WriteBatch()
    for key, value in store.scan(b""):
        pairs.put(key, value)
    store.close()
    for config in others:  # each by its own engine
        with closing(open_database(config.data, create=True, storage=config.storage)) as copy:
            copy.write(pairs, sync=True)


def _log_newest(config: NodeConfig, genesis: Genesis, ledger: LedgerStore) -> None:
    """Leave the log as a rotation would: one that knows nothing of the ledger is refused."""
    held = ledger.header_at(ledger.tip_height)
    assert held is not None
    header, certificate = held
    assert certificate is not None
    log, _ = WriteAheadLog.open(config.wal, log_identity(genesis, config.validator_id))
    log.append([encode_log_record(CommittedRecord(CertifiedHeader(header, certificate)))])
    log.sync()
    log.close()


def _transaction(network: LocalNetwork, time_ms: int) -> VerifiedTransaction:
    body = TransactionBody(
        chain_id=network.genesis.chain_id,
        sender=DEFAULT_IDENTITY,
        nonce=secrets.token_bytes(16),
        not_after_ms=time_ms + 60_000,
        kind=TransactionKind.NOTARIZE,
        payload=Notarization(
            digest_algorithm=1,
            type_code="test",
            action=RecordAction.RECORD,
            digests=secrets.token_bytes(32),
        ),
    )
    transaction = sign_transaction(body, network.signer, network.genesis.suite)
    return VerifiedTransaction(transaction, network.signer.public_key.encoded)


def _certificate(
    network: LocalNetwork, executed: ExecutedBlock, voters: Sequence[Signer]
) -> QuorumCertificate:
    genesis, header = network.genesis, executed.header
    subject = Subject(Phase.COMMIT, header.view, header.height, executed.digest)
    message = subject.sign_bytes(genesis.chain_id, genesis.validators, header.time_ms)
    votes = [
        Vote(subject, index, header.time_ms, signer.sign(message), 0)
        for index, signer in enumerate(voters)
    ]
    return build_certificate(votes, genesis.validators)
