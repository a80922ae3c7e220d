"""A network whose validators have traps in them, with a past longer than blocks are fetched for."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Final

from node.chain.admission import FinalResult
from node.chain.block import Header, ResultCode, checkpoint_of
from node.chain.genesis import Parameters
from node.chain.governance import Approval, CheckpointStatement, Governance, SetParameters
from node.chain.transaction import Transaction, TransactionBody, TransactionKind, sign_transaction
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.crypto.signature import Signer
from node.limits import TX_NONCE_BYTES
from node.operations.process import spawn_detached, stop_processes
from node.operations.provision import NetworkPlan, admin_id, provision
from node.operations.supervisor import LOG_FILE, PROCESS_FILE, Supervisor
from node.operations.topology import PORTS_PER_NODE, SECRET_FILE, find_free_ports
from node.rpc.port import RecordFilter, RecordPage
from tests.crash.cells import Cell
from tests.crash.signatures import Signatures
from tests.crash.victim import DEATH, DISARM, HEARD, PIPE
from tests.network.local_network import HOST, LocalNetwork, until, utc_ms
from tests.network.long_past import give_past
from tests.suites import SUITE

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-P", "-m", "tests.crash.victim", "node", "run")
PARAMETERS: Final = Parameters(rotation_blocks=20, checkpoint_blocks=20)
"""Views change all the time, so that all that is signed when they do is signed all the time."""

GAP_BLOCKS: Final = 200
"""Further behind, a validator fetches the state: more than come while one starts or catches up."""
PAST_BLOCKS: Final = 400
OLD_BLOCKS: Final = 150
"""So many of them are older than all that execution looks at, so that a snapshot comes without."""
CREATED_AGO_MS: Final = 3_600_000


@dataclass
class TrappedNetwork(LocalNetwork):
    """A network of validators that die where they are told."""

    command: Sequence[str] = COMMAND
    """What runs a validator, given `--home` and its folder."""
    epoch: int = 0
    """The one in force, by the changes made here."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supervisor = Supervisor(self.home, lambda _step, _node: None, command=self.command)
        self.signatures = Signatures(self.genesis.suite)
        self.administrators: dict[str, Signer] = {
            name: load_signer(
                self.home / "clients" / name / "client.key", self.secret, KeyPurpose.IDENTITY
            )
            for name in (admin_id(number) for number in range(1, len(self.ids) + 1))
        }
        self._pipes: dict[str, int] = {}
        self._heard_bytes = dict.fromkeys(self.ids, 0)
        for validator_id in self.ids:
            pipe = self.folder(validator_id) / PIPE
            os.mkfifo(pipe, 0o600)
            self._pipes[validator_id] = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)

    # --- Traps ---

    def arm(self, validator_id: str, cell: Cell, left: int = 1) -> None:
        """Have a validator die the `left`-th time it comes to a cell, in this life or the next."""
        (self.folder(validator_id) / DEATH).unlink(missing_ok=True)
        os.write(self._pipes[validator_id], f"{cell.point} {cell.kind} {left}\n".encode())

    def disarm(self, validator_id: str) -> None:
        """Have a validator live."""
        os.write(self._pipes[validator_id], f"{DISARM}\n".encode())

    def death_of(self, validator_id: str) -> str:
        """Return where a validator died, empty if not in a trap."""
        note = self.folder(validator_id) / DEATH
        return note.read_text().strip() if note.exists() else ""

    def is_alive(self, validator_id: str) -> bool:
        """Whether its process runs."""
        return any(
            each.process is not None
            for each in self.supervisor.inspect()
            if each.entry.id == validator_id
        )

    def start(self, validator_id: str) -> None:
        """Start one validator that does not run, and it alone."""
        assert not self.is_alive(validator_id)
        folder = self.folder(validator_id)
        log, paths = folder / LOG_FILE, [str(ROOT), os.environ.get("PYTHONPATH", "")]
        process = spawn_detached(
            (*self.command, "--home", str(folder), "--log", str(log)),
            environment={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            log=log,
        )
        process.save(folder / PROCESS_FILE)

    def stop(self, validator_id: str) -> None:
        """End a validator in order."""
        self.end(validator_id, signal.SIGTERM)

    async def until_past(self, validator_id: str) -> None:
        """Wait until a validator that may have begun with a snapshot has all blocks below it."""
        async with self.client(validator_id) as client:

            async def search() -> RecordPage:
                return await client.records(RecordFilter(), limit=1, timeout_ms=2_000)

            await until(search, f"{validator_id} has its past")

    # --- What was signed ---

    def collect(self, validator_id: str | None = None) -> None:
        """Judge what peers heard since the last time, and the log of a validator at rest."""
        for name in self.ids:
            with (self.folder(name) / HEARD).open("rb") as file:
                file.seek(self._heard_bytes[name])
                data = file.read()
            self._heard_bytes[name] += self._take_heard(data)
        if validator_id is not None:
            index = self.index_of(validator_id)
            self.signatures.take_log(self.folder(validator_id), index)

    def _take_heard(self, data: bytes) -> int:
        offset = 0
        while len(data) >= offset + 4:
            end = offset + 4 + int.from_bytes(data[offset : offset + 4])
            if end > len(data):
                break
            self.signatures.take_message(data[offset + 4 : end])
            offset = end
        return offset

    def index_of(self, validator_id: str) -> int:
        """Return its place in the set, which no change here moves."""
        index = self.genesis.validators.index_of(validator_id)
        assert index is not None
        return index

    # --- Governed changes ---

    async def end_epoch(self, *only: str) -> int:
        """Have the parameters changed, and so the epoch ended; return the barrier's height."""
        async with self.client(*only) as client:
            header = Header.decode((await client.certified_header()).header)
            number = PARAMETERS.fairness_ms + 1 + self.epoch
            payload = Governance(
                epoch=self.epoch,
                not_after_ms=header.time_ms + 600_000,
                nonce=secrets.token_bytes(TX_NONCE_BYTES),
                operations=(SetParameters(replace(PARAMETERS, fairness_ms=number)),),
                evidence=tuple(self._statement(name, header) for name in self.ids),
            )
            message = payload.approval_bytes(self.genesis.chain_id)
            signed = {name: key.sign(message) for name, key in self.administrators.items()}
            approvals = tuple(Approval(name, signature) for name, signature in signed.items())
            encoded = self._governed(replace(payload, approvals=approvals)).encoded

            async def final() -> FinalResult | None:
                (outcome,) = await client.submit([encoded])
                return outcome.result

            result = await until(final, "the change is final")
        assert result.code is ResultCode.OK, result
        self.epoch += 1
        return result.height

    def _statement(self, validator_id: str, header: Header) -> CheckpointStatement:
        message = checkpoint_of(header, header.digest(self.genesis.suite))
        path = self.folder(validator_id) / "keys" / "cosignature.key"
        signer = load_signer(path, self.secret, KeyPurpose.COSIGNATURE)
        return CheckpointStatement(validator_id, header.encode(), signer.sign(message))

    def _governed(self, payload: Governance) -> Transaction:
        sender = next(iter(self.administrators))
        body = TransactionBody(
            chain_id=self.genesis.chain_id,
            sender=sender,
            nonce=secrets.token_bytes(16),
            not_after_ms=utc_ms() + 300_000,
            kind=TransactionKind.GOVERN,
            payload=payload,
        )
        return sign_transaction(body, self.administrators[sender], self.genesis.suite)

    @property
    def secret(self) -> KeyFileSecret:
        """What opens the private keys of this network."""
        return KeyFileSecret.load(self.home / SECRET_FILE)

    def close(self) -> None:
        """Stop what runs."""
        running = [each.process for each in self.supervisor.inspect() if each.process is not None]
        stop_processes(running, grace_s=5)
        for pipe in self._pipes.values():
            os.close(pipe)


@contextmanager
def trapped_network(
    home: Path, command: Sequence[str] = COMMAND, *, engines: Sequence[str] = ("auto",)
) -> Iterator[TrappedNetwork]:
    """Make and start a network of four with traps, and with a past; stop it at the end.

    The ledgers are kept by these engines, in turn.
    """
    plan = NetworkPlan(
        name="crash",
        suite=SUITE,
        created_ms=utc_ms() - CREATED_AGO_MS,
        node_count=4,
        with_aggregate_keys=True,
        ports=find_free_ports(HOST, 4 * PORTS_PER_NODE),
        parameters=PARAMETERS,
    )
    provision(home, plan)
    network = TrappedNetwork(home, command)
    for validator_id, engine in zip(network.ids, cycle(engines), strict=False):
        network.use_engine(validator_id, engine)
        settings = network.folder(validator_id) / "node.toml"
        settings.write_text(f"snapshot_gap_blocks = {GAP_BLOCKS}\n{settings.read_text()}")
    give_past(network, network.ids, PAST_BLOCKS, old_blocks=OLD_BLOCKS)
    try:
        network.supervisor.up()
        yield network
    finally:
        network.close()
