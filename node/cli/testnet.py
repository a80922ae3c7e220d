"""`govchain testnet`: a whole network on this machine, from nothing to nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.chaos import chaos
from node.cli.choice import choose_suite, suite_option
from node.cli.export import export
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, VerbGroup, home_option, verb

if TYPE_CHECKING:
    from node.errors import ClientError
    from node.operations.supervisor import NodeProcess, SupervisionError, Supervisor
    from node.operations.topology import Topology
    from node.rpc.port import NodeStatus

NODES_DEFAULT: Final = 4
_REST_S: Final = 3.0
"""How long `up` waits, once a quorum serves, for the others."""
_ATTEMPTS: Final = 3
"""How often to look for other ports when something took those found free before a node could."""
_PROBE_MS: Final = 1_000
_LOOPBACK: Final = "127.0.0.1"

_nodes_option = click.option(
    "-n", "--nodes", type=click.IntRange(1, 64), help=_("Validators.") + f"  [{NODES_DEFAULT}]"
)


@click.group("testnet", cls=VerbGroup, help=_("A whole network on this machine."))
def testnet() -> None:
    """Hold the verbs."""


testnet.add_command(export)
testnet.add_command(chaos)


@testnet.command("init", help=_("Make the files of a network, its keys and certificates."))
@_nodes_option
@suite_option
@click.option(
    "--bls/--no-bls",
    default=None,
    help=_(
        "Whether validators have BLS keys, so that receipts fit a QR code. Default: if pyblst is "
        "installed."
    ),
)
@home_option
@verb("testnet init")
def init(
    screen: Screen, home: Path, nodes: int | None, suite: str | None, *, bls: bool | None
) -> Answer:
    """Make a network's files."""
    topology = make_network(screen, home, nodes, suite, with_aggregate_keys=bls)
    _show_ports(screen, topology)
    return Answer({"home": str(home), **describe_topology(topology)})


@testnet.command("up", help=_("Make it if need be, start what does not run, repair ports."))
@_nodes_option
@suite_option
@home_option
@click.option("--wait/--no-wait", default=True, help=_("Wait until a quorum serves.") + "  [wait]")
@verb("testnet up")
def up(screen: Screen, home: Path, nodes: int | None, suite: str | None, *, wait: bool) -> Answer:
    """Make every node run."""
    return bring_up(screen, home, nodes, suite, wait=wait)


@testnet.command("status", help=_("Show every node; succeeds where a quorum serves."))
@home_option
@verb("testnet status")
def status(screen: Screen, home: Path) -> Answer:
    """Show every node."""
    from node.cli.network import Network

    supervisor = supervise(screen, home)
    rows = _inspect(supervisor, home)
    _show_nodes(screen, rows)
    topology = supervisor.topology
    serving = sum(row["health"] == "READY" for row in rows)
    epoch = Network.open(home, None, None).validators.epoch
    facts = {"home": str(home), **describe_topology(topology), "epoch": epoch, "serving": serving}
    facts["nodes"] = rows
    verdict = _("{serving} of {count} validators serve, {quorum} are needed").format(
        serving=serving, count=len(topology.members), quorum=topology.quorum
    )
    screen.line(verdict)
    if epoch:
        screen.line(_("epoch {epoch} is in force").format(epoch=epoch))
    if any(row.get("time_degraded") for row in rows):
        screen.note(
            _("blocks are made whose time nobody vouches for: govchain doctor says which clocks")
        )
    if serving < topology.quorum:
        fix = _("start what does not run: govchain testnet up")
        return Answer(facts, Fault("GC-2106", verdict, fix))
    return Answer(facts)


@testnet.command("down", help=_("Stop every node; the files stay."))
@home_option
@verb("testnet down")
def down(screen: Screen, home: Path) -> Answer:
    """Stop every node."""
    supervisor = supervise(screen, home)
    stopped = [each.entry.id for each in supervisor.inspect() if each.process is not None]
    supervisor.down()
    if not stopped:
        screen.line(_("no validator was running"))
    return Answer({"home": str(home), "stopped": stopped})


@testnet.command("destroy", help=_("Stop every node and remove the folder with all it holds."))
@home_option
@verb("testnet destroy")
def destroy(screen: Screen, home: Path) -> Answer:
    """Stop every node and remove the folder."""
    supervise(screen, home).destroy()
    screen.line(_("removed {home}").format(home=home))
    return Answer({"home": str(home)})


def make_network(
    screen: Screen,
    home: Path,
    nodes: int | None,
    suite: str | None,
    *,
    with_aggregate_keys: bool | None = None,
    hashing: str = "hashlib",
) -> Topology:
    """Make a network's files with fresh keys, on ports free now.

    Unless told, its validators have BLS keys where the native library is installed: a trial shows
    all there is, and there it costs two milliseconds per checkpoint.
    """
    from node.crypto.bls import is_native
    from node.operations.provision import NetworkPlan, provision, shared_machine_parameters
    from node.operations.topology import PORTS_PER_NODE, find_free_ports

    count = nodes or NODES_DEFAULT
    plan = NetworkPlan(
        name=home.resolve().name,
        suite=choose_suite(suite),
        created_ms=time.time_ns() // 1_000_000,
        node_count=count,
        ports=find_free_ports(_LOOPBACK, count * PORTS_PER_NODE),
        host=_LOOPBACK,
        with_aggregate_keys=is_native() if with_aggregate_keys is None else with_aggregate_keys,
        parameters=shared_machine_parameters(count, os.cpu_count() or 1),
        hashing=hashing,
    )
    topology = provision(home, plan)
    made = _("made a network of {count} validators in {home}, chain {chain}")
    screen.line(made.format(count=count, home=home, chain=topology.chain_id[:16]))
    return topology


def bring_up(
    screen: Screen, home: Path, nodes: int | None, suite: str | None, *, wait: bool
) -> Answer:
    """Make every node run, making the network first where there is none."""
    from node.operations.supervisor import SupervisionError
    from node.operations.topology import is_network, is_vacant

    started_s = time.monotonic()
    if is_network(home):
        _expect_same(home, nodes, suite)
    elif is_vacant(home):
        make_network(screen, home, nodes, suite)
    supervisor = supervise(screen, home)
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            supervisor.up()
            if wait:
                _wait(supervisor, home)
        except SupervisionError as error:
            if not (attempts_left and error.is_port_conflict):
                return _tell_failure(screen, home, error)
        else:
            if not (wait and attempts_left and supervisor.has_port_conflict()):
                break
    rows = _inspect(supervisor, home) if wait else _describe(supervisor.inspect(), {})
    _show_nodes(screen, rows)
    elapsed_ms = round((time.monotonic() - started_s) * 1_000)
    serving = sum(row["health"] == "READY" for row in rows)
    if wait:
        said = _("{serving} of {count} validators serve, {quorum} are needed ({seconds:.1f} s)")
        quorum = supervisor.topology.quorum
        screen.line(
            said.format(
                serving=serving,
                count=len(supervisor.topology.members),
                quorum=quorum,
                seconds=elapsed_ms / 1_000,
            )
        )
    _tell_ended(screen, supervisor)
    described = describe_topology(supervisor.topology)
    facts = {"home": str(home), **described, "serving": serving, "nodes": rows}
    return Answer({**facts, "elapsed_ms": elapsed_ms})


def describe_topology(topology: Topology) -> dict[str, Any]:
    """Return a network's members of a JSON object."""
    return {
        "chain_id": topology.chain_id,
        "suite": topology.suite,
        "quorum": topology.quorum,
        "nodes": [
            {
                "id": entry.id,
                "organisation": entry.organisation,
                "host": entry.host,
                "peer_port": entry.peer_port,
                "client_port": entry.client_port,
                "metrics_port": entry.metrics_port,
                "http_port": entry.http_port,
            }
            for entry in topology.nodes
        ],
    }


def supervise(screen: Screen, home: Path) -> Supervisor:
    """Return who runs the nodes of a network, and says on the screen what becomes of them."""
    from node.operations.supervisor import Step, Supervisor

    sentences = {
        Step.ADOPTED: _("{node} runs already"),
        Step.STARTED: _("{node} started"),
        Step.STOPPED: _("{node} stopped"),
        Step.KILLED: _("{node} did not stop in time and was killed"),
        Step.MOVED: _("{node} has new ports: something else holds the old ones"),
        Step.SERVING: _("{node} serves"),
    }
    return Supervisor(home, lambda step, node: screen.note(sentences[step].format(node=node)))


def _expect_same(home: Path, nodes: int | None, suite: str | None) -> None:
    """Check that options of an existing network say what it is: neither can be changed."""
    from node.operations.topology import Topology

    topology = Topology.load(home)
    fix = _("remove it first (govchain testnet destroy), or name another folder with --home")
    if nodes not in (None, len(topology.nodes)):
        message = _("{home} holds a network of {got} validators, not {wanted}")
        found = message.format(home=home, got=len(topology.nodes), wanted=nodes)
        raise CommandError("GC-2102", found, fix)
    if suite not in (None, topology.suite):
        message = _("{home} holds a network of suite {got}, not {wanted}")
        found = message.format(home=home, got=topology.suite, wanted=suite)
        raise CommandError("GC-2102", found, fix)


def _wait(supervisor: Supervisor, home: Path) -> None:
    from node.cli.network import Network
    from node.operations.supervisor import START_TIMEOUT_S

    client = Network.open(home, None, None).client()
    with asyncio.Runner() as loop:
        try:
            supervisor.wait_until_serving(
                lambda: _ready(loop.run(client.statuses(_PROBE_MS))),
                timeout_s=START_TIMEOUT_S,
                rest_s=_REST_S,
            )
        finally:
            loop.run(client.close())


def _ready(statuses: dict[str, NodeStatus | ClientError]) -> Collection[str]:
    from node.rpc.port import Health, NodeStatus

    return [
        node_id
        for node_id, status in statuses.items()
        if isinstance(status, NodeStatus) and status.health is Health.READY
    ]


def _inspect(supervisor: Supervisor, home: Path) -> list[dict[str, Any]]:
    from node.cli.network import Network

    network = Network.open(home, None, None)
    statuses = network.ask(lambda client: client.statuses(_PROBE_MS))
    return _describe(supervisor.inspect(), statuses)


def _describe(
    nodes: Collection[NodeProcess], statuses: dict[str, NodeStatus | ClientError]
) -> list[dict[str, Any]]:
    from node.rpc.port import NodeStatus

    rows = []
    for each in nodes:
        entry, process = each.entry, each.process
        found = statuses.get(entry.id)
        row: dict[str, Any] = {
            "id": entry.id,
            "organisation": entry.organisation,
            "part": "validator" if entry.is_member else "learner",
            "host": entry.host,
            "peer_port": entry.peer_port,
            "client_port": entry.client_port,
            "metrics_port": entry.metrics_port,
            "http_port": entry.http_port,
            "pid": None if process is None else process.pid,
            "health": _health_unheard(each),
            "detail": "" if found is None or isinstance(found, NodeStatus) else str(found),
        }
        if isinstance(found, NodeStatus):
            row |= {
                "health": found.health.name,
                "detail": found.health_detail,
                "version": found.version,
                "height": found.height,
                "view": found.view,
                "time_ms": found.time_ms,
                "time_degraded": found.time_degraded,
                "peers_connected": found.peers_connected,
                "pending": found.pending,
            }
        rows.append(row)
    return rows


def _health_unheard(node: NodeProcess) -> str:
    """Return how a node is that did not say so itself."""
    if node.process is None:
        return "STOPPED"
    return "STARTING" if node.is_starting else "UNKNOWN"


def _show_nodes(screen: Screen, rows: list[dict[str, Any]]) -> None:
    shown = ("id", "health", "height", "view", "peers_connected", "pid")
    titles = (_("validator"), _("health"), _("height"), _("view"), _("peers"), _("process"))
    lines = [
        [*("-" if row.get(name) is None else row[name] for name in shown), *_ports_of(row)]
        for row in rows
    ]
    screen.table((*titles, *_port_titles()), lines)


def _show_ports(screen: Screen, topology: Topology) -> None:
    rows = describe_topology(topology)["nodes"]
    screen.table((_("validator"), *_port_titles()), [[row["id"], *_ports_of(row)] for row in rows])


def _port_titles() -> tuple[str, ...]:
    return (_("clients at"), _("peers at"), _("metrics at"), _("HTTP at"))


def _ports_of(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return where a node listens, the host once: all of it is on one."""
    return (
        f"{row['host']}:{row['client_port']}",
        f":{row['peer_port']}",
        f":{row['metrics_port']}",
        f":{row['http_port']}",
    )


def _tell_ended(screen: Screen, supervisor: Supervisor) -> None:
    """Say why a node does not run although the rest serves."""
    for entry in supervisor.topology.nodes:
        if failure := supervisor.failure_of(entry):
            _tell_log(screen, failure)
            fault = Fault.of(failure)
            screen.note(f"{fault.sentence} ({fault.fix})")


def _tell_failure(screen: Screen, home: Path, error: SupervisionError) -> Answer:
    _tell_log(screen, error)
    facts = {"home": str(home), "node": error.node_id, "log_tail": list(error.log_tail)}
    return Answer(facts, Fault.of(error))


def _tell_log(screen: Screen, failure: SupervisionError) -> None:
    if failure.log_tail:
        screen.note(_("the last lines of {node}:").format(node=failure.node_id))
        for line in failure.log_tail:
            screen.note(f"    {line}")
