"""A whole run: build the validators of a plan, let all go wrong, heal, and demand progress."""

from __future__ import annotations

import traceback
from contextlib import nullcontext
from functools import partial
from random import Random

from node.chain.genesis import Genesis, Identity, Organisation, Role
from node.chain.membership import Validator, ValidatorSet
from node.execution.apply import Executor
from node.service.pursuit import FETCH_AFTER_MS
from node.service.wire import MessageKind
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.adversaries.validator import ByzantineValidator, Unobserved
from tests.simulation.at_rest import judge_evidence, judge_memory, judge_pools, judge_stores
from tests.simulation.history import History
from tests.simulation.keys import KeyRing
from tests.simulation.network import CALM, Network
from tests.simulation.node import Armed, CrashPoint, Machine, SimulatedValidator
from tests.simulation.oracles import Oracles
from tests.simulation.plan import (
    ARMED_US,
    Blackout,
    Break,
    Burst,
    Crash,
    Cut,
    Fault,
    Plan,
    Rot,
    Silence,
    Staged,
    Step,
    Stop,
)
from tests.simulation.sharing import garbage_left_to_the_end, shared_work
from tests.simulation.stages import Director
from tests.simulation.violation import Violation
from tests.simulation.workload import Clients
from tests.simulation.world import MS, SECOND, UTC_AT_START_MS, World
from tests.unit.service.block_cost import most_per_block

AGENCIES = ("agency-1", "agency-2", "agency-3")
YEAR_MS = 31_536_000_000
LATE_US = 1 * SECOND
LATE_REQUESTS = 5
"""Asked after the faults have stopped: progress means new work too."""
QUIET_US = 500 * MS
"""Run on after that: what is still under way must change nothing."""


def judged(cluster: Cluster, *, shares: bool = True) -> str:
    """Run a cluster to its end; return the violation, empty for none."""
    try:
        with garbage_left_to_the_end(), shared_work() if shares else nullcontext():
            cluster.run()
    except Violation as broken:
        return str(broken)
    except Exception:  # noqa: BLE001 - whatever a correct validator raises is a finding (oracle X)
        return f"X: {traceback.format_exc()}"
    return ""


class Cluster:
    """The validators, clients and judges of one run."""

    correct_type: type[SimulatedValidator] = SimulatedValidator
    history_type: type[History] = History
    byzantine_type: type[ByzantineValidator] = ByzantineValidator

    def __init__(self, plan: Plan, random: Random) -> None:
        self.plan = plan
        self.world = world = World(random)
        self.network = Network(world, plan.links, holds_when_cut=plan.cut_links_hold)
        self.ring = ring = KeyRing()
        self.spares: tuple[Validator, ...] = ()
        """Who may become validators; they follow the others until then."""
        self.genesis = genesis = self._found()
        self.roster = (*genesis.validators.validators, *self.spares)
        """All nodes, by number."""
        self.executor = Executor(genesis)
        first = self.executor.genesis_block().header
        self.history = self.history_type(world, genesis, first, self.spares)
        self.oracles = Oracles(world, self.history)
        self.healed_at_us = 0
        self.places: list[SimulatedValidator] = []
        """By place: one per validator, then the second places of twins."""
        self.correct: list[SimulatedValidator] = []
        for index in range(len(self.roster)):
            self._place(index)
        self._twins = [v for v, tricks in plan.byzantine.items() if Trick.TWINS in tricks]
        for index in self._twins:
            self._place(index)
        self._cut_pairs: tuple[tuple[int, int], ...] = ()
        self._directors: list[Director] = []
        self._hidden: list[tuple[int, int]] = []
        """Directed pairs of places, one of them a twin's, that do not see each other."""
        self.clients = Clients(
            world=world,
            profile=plan.workload,
            genesis=genesis,
            signers={name: ring.signer(name) for name in AGENCIES},
            validators=self.places,
            history=self.history,
        )
        self.history.on_final = self.clients.settle
        self.history.on_rotated = self.clients.ask_under_new_key
        profiles = [fault.profile for fault in plan.faults if isinstance(fault, Burst)]
        self.oracles.carries_damage = any(p.corrupt_permille for p in [plan.links, *profiles])

    def _found(self) -> Genesis:
        return found_chain(self.plan, self.ring)

    def _place(self, index: int) -> None:
        tricks = self.plan.byzantine.get(index)
        names = tuple(each.validator_id for each in self.roster)
        signer = self.ring.signer(names[index]).watched_by(partial(self.oracles.signed, index))
        validator_type = self.correct_type if tricks is None else self.byzantine_type
        validator = validator_type(
            world=self.world,
            network=self.network,
            observer=self.oracles if tricks is None else Unobserved(),
            genesis=self.genesis,
            executor=self.executor,
            index=index,
            signer=signer,
            machine=self.plan.machines[index] if index < self.plan.size else Machine(),
        )
        validator.names = names
        self.places.append(validator)
        if tricks is None:
            self.correct.append(validator)
            self.oracles.judge(index)
        elif isinstance(validator, ByzantineValidator):
            validator.play(tricks)

    # ------------------------------------------------------------------ the run

    def run(self) -> None:
        """Run the plan to its end; raises `Violation`."""
        world, plan = self.world, self.plan
        self._hide_twins()
        for fault in plan.faults:
            self.strike_at(fault)
        if plan.links == CALM and not plan.faults:
            self.oracles.wait_max_us = bodies_bound_us(plan)
        for validator in self.places:
            validator.start()
        asking_us = plan.chaos_us * plan.workload.asking_permille // 1_000
        self.clients.schedule(0, asking_us, plan.workload.requests)
        world.run_until(plan.chaos_us)
        if any(Trick.FLOOD in tricks for tricks in plan.byzantine.values()):
            judge_memory(self.correct, self.history)
        self._heal()
        self._demand_progress()  # of what is there: that nothing new comes may hide nothing
        self.healed_at_us = world.now_us
        self.oracles.wait_max_us = bodies_bound_us(plan)
        self.clients.schedule(world.now_us, world.now_us + LATE_US, LATE_REQUESTS)
        world.run_until(world.now_us + LATE_US)
        self._demand_progress()
        world.run_until(world.now_us + QUIET_US)
        self._demand_progress()
        judge_evidence(self.correct, self.history)
        judge_stores(self.correct)
        judge_pools(self.correct, self.history)
        if plan.is_faultless:
            self._judge_counts()

    def _demand_progress(self) -> None:
        """Oracle L: all that must become final does, everywhere, one block soon after another.

        Or soon after somebody correct was asked for it, where that comes later.
        """
        world = self.world
        blocks, from_us = len(self.history.headers), self.plan.chaos_us
        while not self._is_done():
            began_us = world.now_us
            world.run_until(began_us + progress_bound_us(self.plan), self._is_done)
            if len(self.history.headers) != blocks:
                blocks, from_us = len(self.history.headers), began_us
            elif not self._is_done() and self._is_held_up(from_us, began_us):
                raise Violation(f"L: {self._describe_stall()}")

    def _is_held_up(self, from_us: int, before_us: int) -> bool:
        """Say whether a validator lacks a block, or somebody correct heard of what is not final."""
        return not self._are_level() or self.clients.was_heard(self.correct, from_us, before_us)

    def _is_done(self) -> bool:
        """Whether all that must become final is, at every correct validator."""
        return self._are_level() and next(self.clients.overdue(self.correct), None) is None

    def _are_level(self) -> bool:
        height = len(self.history.headers) - 1
        for validator in self.correct:  # noqa: SIM110 - asked after every event
            if validator.ledger.tip_height != height:
                return False
        return True

    def _heal(self) -> None:
        self._tell("all faults end")
        self.network.profile = CALM
        self._cut_pairs = ()
        self._hidden.clear()
        self._apply_cuts()
        for director in self._directors:
            director.end()
        self.network.hushed.clear()
        for validator in self.places:
            validator.arm(None)
            if not validator.is_up:
                validator.start()

    def _describe_stall(self) -> str:
        where = []
        for validator in self.correct:
            engine = validator.engine
            if engine is not None:
                core = engine.core
                where.append(
                    f"{validator.index}: height {engine.height} view {core.view}"
                    f"{'' if core.view_active else ' (leaving)'}"
                    f" pool {engine.mempool.pending_count}"
                )
        waiting = sum(1 for _ in self.clients.overdue(self.correct))
        return f"{waiting} requests are not final in time; " + "; ".join(where)

    def _judge_counts(self) -> None:
        """Hold a run without faults to the exact cost of its blocks."""
        # Where the set changes, each block costs at most what the largest set would pay.
        n = max(len(account.members) for account in self.history.accounts)
        most = most_per_block(n)
        blocks = len(self.history.headers) - 1
        messages = self.oracles.messages
        parameters = self.plan.parameters
        views = blocks // parameters.rotation_blocks
        views += self.world.now_us // (parameters.rotation_ms * MS)
        # What is durable only as an epoch begins goes to who joins with it too, one at a time.
        to_joiners = 2 * n * (len(self.history.accounts) - 1)
        votes = messages[MessageKind.VOTE] + messages[MessageKind.PROPOSAL]
        limits = {
            "votes sent": (votes, (blocks + views) * most.votes_sent + to_joiners),
            "vote signatures": (self._count("votes_signed"), (blocks + views) * most.votes_signed),
            "vote checks": (self._count("votes_checked"), (blocks + views) * most.votes_checked),
            # and one for each VIEW-CHANGE and NEW-VIEW
            "log syncs": (
                sum(validator.log.syncs for validator in self.correct),
                (blocks + views) * most.log_syncs + views * (n + 1),
            ),
            "views": (self.oracles.view_max, views),
            # to everybody once, and by chance to one more who says just then where it stands
            "view changes": (messages[MessageKind.VIEW_CHANGE], views * n * n),
            "new views": (messages[MessageKind.NEW_VIEW], views * n),
            "refused messages": (self._count("messages_refused"), 0),
        }
        for what, (got, limit) in limits.items():
            if got > limit:
                raise Violation(f"C: {got} {what} for {blocks} blocks, expected at most {limit}")

    def _count(self, counter: str) -> int:
        engines = [validator.engine for validator in self.correct]
        return sum(getattr(engine.counters, counter) for engine in engines if engine is not None)

    def _tell(self, what: str) -> None:
        if self.world.transcript is not None:
            self.world.transcript.note(self.world.now_us, "", what)

    # ------------------------------------------------------------------ faults

    def strike_at(self, fault: Fault) -> None:
        """Have a fault happen when its time comes."""
        self.world.after(fault.at_us, partial(self._strike, fault))

    def _strike(self, fault: Fault) -> None:
        world = self.world
        self._tell(f"{fault}")
        match fault:
            case Crash():
                self._crash(fault)
            case Rot():
                self._rot(self.places[fault.validator])
            case Break():
                self._break(fault)
            case Cut():
                self._cut_pairs = fault.pairs
                self._apply_cuts()
                world.after(fault.until_us - fault.at_us, self._rejoin)
            case Burst():
                self.network.profile = fault.profile
                world.after(fault.until_us - fault.at_us, self._calm_down)
            case Silence():
                self.network.hushed.append(fault.hush)
                unhush = partial(self.network.unhush, fault.hush)
                world.after(fault.until_us - fault.at_us, unhush)
            case Blackout():
                self._arm_all(fault)
            case Staged():
                self._stage(fault)
            case Stop():
                for index in fault.validators:
                    self.places[index].stop_running(fault.for_us)
            case Step():
                self._step_clocks(fault)

    def _step_clocks(self, fault: Step) -> None:
        for index in fault.validators:
            self.places[index].step_clock(fault.by_ms)
            self.history.misled[index] = None

    def _stage(self, fault: Staged) -> None:
        parameters = self.plan.parameters
        director = Director(
            world=self.world,
            network=self.network,
            correct=self.correct,
            timeouts_ms=(parameters.view_timeout_ms, parameters.view_timeout_max_ms),
            stages=fault.stages,
            restarts=fault.restarts,
        )
        self._directors.append(director)
        director.begin()

    def _crash(self, fault: Crash) -> None:
        validator = self.places[fault.validator]
        if fault.point is CrashPoint.AT_ONCE:
            validator.crash(
                power_loss=fault.power_loss,
                down_us=fault.down_us,
                loses_state=fault.loses_state,
            )
        else:
            self._arm(validator, Armed(fault.point, fault.record, fault.down_us))

    def _arm_all(self, fault: Blackout) -> None:
        if fault.point is CrashPoint.AT_ONCE:
            self._black_out(fault)
            return
        for validator in self.correct:
            down_us = fault.down_us[validator.index % len(fault.down_us)]
            spread = partial(self._black_out, fault)
            self._arm(validator, Armed(fault.point, fault.record, down_us, spread))

    def _black_out(self, fault: Blackout) -> None:
        if fault.takes_clients:
            self.clients.leave()
        for validator in self.places:
            down_us = fault.down_us[validator.index % len(fault.down_us)]
            validator.crash(power_loss=True, down_us=down_us)

    def _arm(self, validator: SimulatedValidator, armed: Armed) -> None:
        if validator.is_up:
            validator.arm(armed)
            self.world.after(ARMED_US, partial(self._disarm, validator, validator.life))

    def _disarm(self, validator: SimulatedValidator, life: int) -> None:
        if validator.life == life:
            validator.arm(None)

    def _rot(self, validator: SimulatedValidator) -> None:
        """Oracle R: a damaged log is noticed, and the others go on without its validator."""
        validator.rot()
        if validator.is_lost:
            self.correct.remove(validator)

    def _break(self, fault: Break) -> None:
        between = [frozenset(pair) for pair in fault.pairs]
        broken = [
            (one, other)
            for one in self.places
            for other in self.places
            if frozenset((one.index, other.index)) in between
        ]
        self.network.break_streams([(one.place, other.place) for one, other in broken])
        for one, other in broken:
            one.connect(other.index)

    def _rejoin(self) -> None:
        self._cut_pairs = ()
        self._apply_cuts()

    def _calm_down(self) -> None:
        if self.world.now_us < self.plan.chaos_us:
            self.network.profile = self.plan.links

    def _apply_cuts(self) -> None:
        """Cut what the current fault cuts, and the view that twins' peers have of them."""
        pairs = list(self._hidden)
        for source, target in self._cut_pairs:
            pairs += [
                (a, b)
                for a, one in enumerate(self.places)
                for b, other in enumerate(self.places)
                if one.index == source and other.index == target
            ]
        self.network.cut(pairs)

    def _hide_twins(self) -> None:
        """Draw which of two twins each peer sees, or both; draw again later."""
        if not self._twins or self.world.now_us >= self.plan.chaos_us:
            return
        random = self.world.random
        self._hidden.clear()
        for second, index in enumerate(self._twins, start=len(self.roster)):
            for peer in self.correct:
                unseen = random.choice((index, second, None))
                if unseen is not None:
                    self._hidden += [(unseen, peer.place), (peer.place, unseen)]
        self._apply_cuts()
        self.world.after(random.randrange(200 * MS, 3 * SECOND), self._hide_twins)


def progress_bound_us(plan: Plan) -> int:
    """Return how long the next block may take while there is work and no fault."""
    faults = (plan.size - 1) // 3
    return ((faults + 2) * plan.parameters.view_timeout_max_ms + 10_000) * MS


def bodies_bound_us(plan: Plan) -> int:
    """Return how long the bodies of a decided block may take where nothing is lost or late.

    Whoever has them is asked in turn, each time after twice as long; then they are checked, and
    the block is executed.
    """
    faults = (plan.size - 1) // 3
    slowest_us = max(machine.sync_max_us + machine.check_max_us for machine in plan.machines)
    return FETCH_AFTER_MS * MS * (1 << faults + 2) + 200 * MS + 4 * slowest_us


def found_chain(plan: Plan, ring: KeyRing) -> Genesis:
    """Return the genesis of a plan, with the keys of a ring."""
    suite = ring.suite
    validators = tuple(
        Validator(
            validator_id=f"validator-{index}",
            organisation="org-1",
            vote_key=ring.signer(f"validator-{index}").public_key.encoded,
            cosignature_key=bytes((index,)) * 32,
        )
        for index in range(plan.size)
    )
    identities = tuple(
        Identity(
            identity_id=name,
            organisation="org-1",
            role=Role.AGENCY,
            public_key=ring.signer(name).public_key.encoded,
            not_before_ms=UTC_AT_START_MS - YEAR_MS,
            not_after_ms=UTC_AT_START_MS + YEAR_MS,
        )
        for name in AGENCIES
    )
    return Genesis(
        suite=suite,
        name="simulation",
        created_ms=UTC_AT_START_MS - 1_000,
        testnet=True,
        parameters=plan.parameters,
        organisations=(
            Organisation(organisation_id="org-1", name="Org 1", ca_certificate=b"\x30\x00"),
        ),
        validators=ValidatorSet(0, validators, suite),
        identities=identities,
    )
