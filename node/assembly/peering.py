"""Whom a node deals with, and the links to them: between runner and transport."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from node.assembly.keys import Keys
from node.assembly.trial import Trial
from node.chain.genesis import Genesis
from node.chain.transaction import TransactionKind
from node.config import NodeConfig
from node.crypto.certificate_profile import CertificateIdentity
from node.errors import ConfigError, InvariantViolation, StorageError
from node.rpc.identity import Gatekeeper
from node.rpc.outbox import Priority
from node.rpc.peer import PeerState, PeerTransport, RemotePeer
from node.service import clock
from node.service.engine import CommittedBlock
from node.service.neighbours import Neighbour, Neighbourhood
from node.service.runner import Runner
from node.service.term import Roster
from node.service.wire import MessageKind
from node.storage.ledger import LedgerStore

_PRIORITIES: Final[Mapping[int, Priority]] = {
    MessageKind.NEW_VIEW: Priority.VIEW_CHANGE,
    MessageKind.VIEW_CHANGE: Priority.VIEW_CHANGE,
    MessageKind.VOTE: Priority.VOTE,
    MessageKind.DECIDED: Priority.VOTE,
    MessageKind.PROPOSAL: Priority.PROPOSAL,
    MessageKind.STATUS: Priority.SYNC,
    MessageKind.WANT_BODIES: Priority.SYNC,
    MessageKind.BODIES: Priority.SYNC,
    MessageKind.WANT_BLOCKS: Priority.SYNC,
    MessageKind.BLOCKS: Priority.SYNC,
    MessageKind.TRANSACTIONS: Priority.GOSSIP,
    MessageKind.EVIDENCE: Priority.GOSSIP,
    MessageKind.WANT_SNAPSHOTS: Priority.SYNC,
    MessageKind.SNAPSHOTS: Priority.SYNC,
    MessageKind.WANT_STATE: Priority.SYNC,
    MessageKind.STATE: Priority.SYNC,
    MessageKind.WANT_PAST: Priority.GOSSIP,
    MessageKind.PAST: Priority.GOSSIP,
    MessageKind.CHECKPOINT: Priority.GOSSIP,
    MessageKind.SHARE: Priority.GOSSIP,
}

log = structlog.get_logger()


class Peering:
    """The runner's `Transport` and the transport's `PeerListener`; the state says who there is."""

    def __init__(
        self,
        config: NodeConfig,
        genesis: Genesis,
        ledger: LedgerStore,
        roster: Roster,
        keys: Keys,
    ) -> None:
        """Begin with whom the state at the ledger's tip names; nobody is dialled yet.

        Raises `ConfigError` where nobody could ever be reached.
        """
        self._roster, self._own_authority = roster, keys.own_authority
        self._neighbourhood = Neighbourhood(genesis, config.validator_id, _hints(config), ledger)
        _check_addresses(config, self._neighbourhood)
        self.gatekeeper = Gatekeeper({}, clock.utc_ms, self._neighbourhood.why_barred)
        self.transport = PeerTransport(
            (),
            self,
            tls=keys.tls,
            gatekeeper=self.gatekeeper,
            jitter=secrets.SystemRandom().random,
            porter=self._let_follow,
        )
        self.meet()
        self.trial = Trial(config.home, self.transport, roster, is_allowed=genesis.testnet)

    def join(self, runner: Runner, on_change: Callable[[], None]) -> None:
        """Have `runner` hear the peers; `on_change` is called when one comes or goes."""
        self._runner, self._on_change = runner, on_change
        runner.on_epoch.append(self.meet)
        runner.on_committed.append(self._meet_if_governed)

    # ------------------------------------------------------------------ who they are

    def meet(self) -> None:
        """Deal with whom the state names, from now on."""
        own = {name: (authority,) for name, authority in self._own_authority.items()}
        self.gatekeeper.admit({**own, **self._neighbourhood.authorities()})
        members, unknown = self._neighbourhood.members(), self._neighbourhood.unknown()
        for each in members:
            if not each.addresses:
                log.warning("peer-without-address", peer=each.node_id)
        self.transport.assign([self._as_peer(each) for each in (*members, *unknown)])
        self.transport.let_go_of_barred()

    def _meet_if_governed(self, block: CommittedBlock) -> None:
        """Look at the state anew after what alone can change who there is."""
        transactions = block.executed.transactions
        if any(each.transaction.body.kind is TransactionKind.GOVERN for each in transactions):
            self.meet()

    def _let_follow(self, shown: CertificateIdentity) -> RemotePeer:
        return self._as_peer(self._neighbourhood.follower(shown, clock.utc_ms()))

    def _as_peer(self, neighbour: Neighbour) -> RemotePeer:
        return RemotePeer(
            number=self._roster.number(neighbour.node_id),
            validator_id=neighbour.node_id,
            organisation=neighbour.organisation,
            addresses=neighbour.addresses,
        )

    def name_of(self, peer: int) -> str:
        """Return the id of a peer by its number."""
        return self._roster.name(peer)

    def others(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return id, organisation and addresses of the other members of the set in force."""
        members = self._neighbourhood.members()
        return [(each.node_id, each.organisation, each.addresses) for each in members]

    @property
    def states(self) -> Mapping[str, PeerState]:
        """Figures of every peer by validator id."""
        return {self.name_of(peer): state for peer, state in self.transport.states.items()}

    # ------------------------------------------------------------------ what goes out

    def send(self, peer: int, kind: int, data: bytes) -> None:
        """Queue a message for one peer; it is lost where there is no link to it."""
        self.trial.links.send(peer, _PRIORITIES[kind], data)

    def broadcast(self, kind: int, data: bytes) -> None:
        """Queue a message for every peer."""
        self.trial.links.broadcast(_PRIORITIES[kind], data)

    # ------------------------------------------------------------------ what comes in

    async def on_messages(self, peer: int, messages: Sequence[bytes]) -> None:
        """Hand a frame to the engine."""
        if self.trial.hears(peer):
            self._runner.received(peer, messages)

    def on_peer(self, peer: int, *, connected: bool) -> None:
        """Greet a peer that came, and tell that something changed."""
        log.info("peer", peer=self.name_of(peer), connected=connected)
        if connected:
            self._runner.connected(peer)
        self._on_change()

    def on_failure(self, error: Exception) -> None:
        """Note an error that no caller is to blame for; end where going on would be wrong."""
        log.error("failed", exc_info=error)
        if isinstance(error, StorageError | InvariantViolation):
            self._runner.stop(error)

    def on_refusal(self, reason: str) -> None:
        """Say who is not let in, or who does not let this node in."""
        log.warning("peer-refused", reason=reason)


def _hints(config: NodeConfig) -> dict[str, str]:
    return {peer.validator_id: str(peer.address) for peer in config.peers}


def _check_addresses(config: NodeConfig, neighbourhood: Neighbourhood) -> None:
    """Refuse to start where nobody could ever be reached.

    Some addresses may well be missing: of validators that left since this node's last block. Who
    joined since then is not known here but for its address.
    """
    members = neighbourhood.members()
    found = (*members, *neighbourhood.unknown())
    if members and not any(each.addresses for each in found):
        raise ConfigError(
            f"{config.home}: peers: expected addresses of the other validators, got none of "
            f"{', '.join(each.node_id for each in members)}",
            fix="correct the tables [[peers]] in node.toml",
        )
