"""What a seed stands for: sizes, clocks, links, disks, clients, Byzantine behaviour and faults.

Each seed draws its own mix ("swarm testing"): some runs have one kind of fault, some many, some
none. The faults are a list of plain data, so that a run can be repeated with fewer of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from random import Random

from node.chain.certificate import Phase
from node.chain.genesis import Parameters
from node.service.log_records import RecordType
from node.service.wire import MessageKind
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.network import CALM, Hush, LinkProfile, beginning_of
from tests.simulation.node import CrashPoint, Machine
from tests.simulation.stages import Stage
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND

PATIENT_MS = 1_000
"""A view timeout that nothing exceeds by chance."""
_HUSHED = (
    beginning_of(MessageKind.VOTE),
    beginning_of(MessageKind.VOTE, Phase.COMMIT),
    beginning_of(MessageKind.VOTE, Phase.COMMIT),
    beginning_of(MessageKind.VOTE, Phase.PREPARE),
    beginning_of(MessageKind.PROPOSAL),
    beginning_of(MessageKind.VIEW_CHANGE),
    beginning_of(MessageKind.VIEW_CHANGE),
    beginning_of(MessageKind.NEW_VIEW),
    beginning_of(MessageKind.DECIDED),
    beginning_of(MessageKind.TRANSACTIONS),
)
_RECORDS_AT_STAKE = (
    RecordType.BLOCK,
    RecordType.VOTE,
    RecordType.PREPARED,
    RecordType.VIEW_CHANGE,
    RecordType.NEW_VIEW,
)
_BLOCKS_AIMED_AT = (40, 80, 120, 160)
"""What a run comes to in which nothing goes wrong: a hundred on average."""
_STAGES = (
    (Stage.FORGOTTEN, Stage.FORGOTTEN),
    (Stage.FORGOTTEN, Stage.FORGOTTEN),
    (Stage.FORGOTTEN, Stage.FORGOTTEN, Stage.FORGOTTEN),
    (Stage.WITNESS, Stage.WITNESS),
    (Stage.DEAF,),
    (Stage.DEAF, Stage.DEAF),
    (Stage.LATE,),
    (Stage.LATE, Stage.LATE),
)
_STAGED_FOR = {Trick.SUPPLANT: Stage.WITNESS, Trick.GAP: Stage.DEAF}
"""What has to happen for a trick to have a chance."""
_ALONE = {Trick.STARVE, Trick.SUPPLANT, Trick.GAP}
"""What comes to nothing, or is not seen, where much else goes wrong."""
STAGE_TIMEOUT_MS = 300
"""The longest first timeout of views where they have to fail one after another."""
OUTAGE_US = 45 * SECOND
OUTAGE_ASKING_PERMILLE = 50
OUTAGE_BLOCKS = 10
ARMED_US = 2 * SECOND
"""A crash that waits for its point to be passed is called off after this long."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A validator dies, at once or at a point it passes soon, and starts again later."""

    at_us: int
    validator: int
    point: CrashPoint
    record: RecordType | None
    """At a point, wait for one where a record of this type is at stake."""
    power_loss: bool
    down_us: int
    loses_state: bool = False
    """An operator removes the database meanwhile; the log is left."""


@dataclass(frozen=True, slots=True)
class Rot:
    """The log of a validator is damaged on the disk: it must notice, and is lost for good."""

    at_us: int
    validator: int


@dataclass(frozen=True, slots=True)
class Break:
    """Streams between pairs of validators break, losing what is under way, and are made anew."""

    at_us: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """Directed pairs of validators lose each other for a while."""

    at_us: int
    until_us: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Burst:
    """All links change their behaviour for a while."""

    at_us: int
    until_us: int
    profile: LinkProfile


@dataclass(frozen=True, slots=True)
class Silence:
    """Messages of one kind get lost on some links for a while."""

    at_us: int
    until_us: int
    hush: Hush


@dataclass(frozen=True, slots=True)
class Blackout:
    """All validators lose power at one moment, and start again one by one."""

    at_us: int
    point: CrashPoint
    record: RecordType | None
    """At a point, wait until any validator passes one where a record of this type is at stake."""
    down_us: tuple[int, ...]
    takes_clients: bool
    """Nobody asks again until all faults are over: what was logged is all there is."""


@dataclass(frozen=True, slots=True)
class Staged:
    """View after view, validators come to know unlike things: stages.py."""

    at_us: int
    stages: tuple[Stage, ...]
    restarts: bool
    """Whether a validator may crash and start again at once in the course of it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Validators do not run for a while: what they are sent waits for them."""

    at_us: int
    validators: tuple[int, ...]
    for_us: int


@dataclass(frozen=True, slots=True)
class Step:
    """Clocks are set forward, or back."""

    at_us: int
    validators: tuple[int, ...]
    by_ms: int


Fault = Crash | Rot | Break | Cut | Burst | Silence | Blackout | Staged | Stop | Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a run is made of, besides what its random source decides on the way."""

    size: int
    parameters: Parameters
    machines: tuple[Machine, ...]
    links: LinkProfile
    cut_links_hold: bool
    workload: WorkloadProfile
    byzantine: dict[int, tuple[Trick, ...]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    client_changes: int = 0
    """How often administrators rotate the key of a client that asks, or freeze it (governed.py)."""
    chaos_us: int = 4 * SECOND
    """Until then anything in `faults` may happen; from then on links are calm and all are up."""

    @property
    def is_faultless(self) -> bool:
        """Whether counts can be exact: nothing is lost, late or false."""
        return (
            not self.faults
            and not self.byzantine
            and self.links == CALM
            and self.parameters.view_timeout_ms >= PATIENT_MS
            and all(machine.pool_txs_max >= self.workload.requests for machine in self.machines)
        )


def draw_plan(random: Random, size: int) -> Plan:
    """Draw a run for `size` validators."""
    faults_max = (size - 1) // 3
    chaos_us = random.randrange(2, 9) * SECOND
    blocks = random.choice(_BLOCKS_AIMED_AT)
    workload = _draw_workload(random)
    kinds = _draw_kinds(random)
    parameters = _draw_parameters(random)
    if "outage" in kinds:
        chaos_us, parameters = OUTAGE_US, _parameters_of_outage(parameters)
        workload = replace(workload, asking_permille=OUTAGE_ASKING_PERMILLE, retry_us=4 * SECOND)
        blocks = OUTAGE_BLOCKS
    byzantine: dict[int, tuple[Trick, ...]] = {}
    if "byzantine" in kinds:
        for validator in random.sample(range(size), random.randrange(1, faults_max + 1)):
            count = random.choice((1, 2, 2, 3, 4))
            byzantine[validator] = tuple(random.sample(list(Trick), count))
    tricks = [trick for each in byzantine.values() for trick in each]
    if _ALONE & {*tricks} and "outage" not in kinds and random.randrange(3):
        kinds = ("byzantine",)
    if "outage" not in kinds and ("stages" in kinds or {*_STAGED_FOR} & {*tricks}):
        parameters = _parameters_of_stages(random, parameters)
    requests = _requests_for(blocks, workload.burst_max, parameters.block_txs_max)
    workload = replace(workload, requests=requests)
    asking_us = chaos_us * workload.asking_permille // 1_000
    faults = _draw_faults(
        random,
        kinds,
        size=size,
        byzantine=[*byzantine],
        chaos_us=chaos_us,
        asking_us=asking_us,
    )
    faults += _draw_occasions(random, size, byzantine, chaos_us, asking_us)
    plan = Plan(
        size=size,
        parameters=parameters,
        machines=tuple(_draw_machine(random, kinds, parameters) for _ in range(size)),
        links=_draw_links(random) if "links" in kinds else CALM,
        cut_links_hold=random.randrange(2) == 0,
        workload=workload,
        byzantine=byzantine,
        faults=tuple(faults),
        chaos_us=chaos_us,
    )
    if not kinds or "outage" in kinds:
        return plan
    return replace(plan, faults=(*plan.faults, *_draw_of_time(random, plan)))


def _draw_of_time(random: Random, plan: Plan) -> list[Fault]:
    """Draw, last of all, who does not run for a while, and whose clock is set."""
    faults: list[Fault] = []
    if random.randrange(4) == 0:
        for _ in range(random.choice((1, 2, 4))):
            count = random.choice((1, 1, 2, plan.size))
            stopped = tuple(random.sample(range(plan.size), count))
            for_us = random.choice((100 * MS, 400 * MS, 1 * SECOND, 3 * SECOND))
            at_us = random.randrange(plan.chaos_us)
            faults.append(Stop(at_us, stopped, min(for_us, plan.chaos_us - at_us)))
    if not plan.byzantine and random.randrange(6) == 0:
        by_ms = random.choice((-10_000, -1_000, 200, 1_000, 10_000, 3_600_000))
        alone = (random.randrange(plan.size),)
        faults.append(Step(random.randrange(plan.chaos_us), alone, by_ms))
    return faults


def _draw_kinds(random: Random) -> tuple[str, ...]:
    """Every tenth run has no fault; the others one kind or several, often somebody faulty."""
    if random.randrange(10) == 0:
        return ()
    if random.randrange(30) == 0:
        return ("outage", random.choice(("rot", "rot", "byzantine")))
    kinds = [
        "byzantine",
        "crash",
        "rot",
        "break",
        "cut",
        "burst",
        "silence",
        "stages",
        "links",
        "rotate",
        "clocks",
        "slow disks",
        "small pools",
    ]
    drawn = random.sample(kinds, random.choice((1, 2, 3, 4, 5)))
    if random.randrange(5) == 0:
        drawn.append("blackout")
    if not {"byzantine", "crash", "rot"} & {*drawn}:
        drawn.append(random.choice(("byzantine", "byzantine", "crash", "clocks")))
    return tuple(drawn)


def _draw_faults(
    random: Random,
    kinds: tuple[str, ...],
    *,
    size: int,
    byzantine: Sequence[int],
    chaos_us: int,
    asking_us: int,
) -> list[Fault]:
    """Draw the faults of some kinds; with the Byzantine validators, within what is tolerated."""
    faults: list[Fault] = []
    correct = [v for v in range(size) if v not in byzantine]
    spare = (size - 1) // 3 - len(byzantine)
    if "rot" in kinds and spare:
        spare -= 1
        faults.append(Rot(random.randrange(chaos_us), correct.pop(random.randrange(len(correct)))))
    if "crash" in kinds:
        faults += _draw_crashes(random, correct, spare, chaos_us)
    if "blackout" in kinds:
        faults += _draw_blackouts(random, size, asking_us)
    if "break" in kinds:
        faults += _draw_breaks(random, size, chaos_us)
    if "cut" in kinds:
        faults += _draw_cuts(random, size, chaos_us)
    if "burst" in kinds:
        faults += _draw_bursts(random, chaos_us)
    if "silence" in kinds:
        faults += _draw_silences(random, size, chaos_us)
    if "outage" in kinds:
        faults.append(_draw_outage(random, size, chaos_us))
    if "stages" in kinds:
        restarts = spare > 0 and "crash" not in kinds
        faults.append(_draw_stages(random, asking_us, restarts=restarts))
    return faults


def _draw_parameters(random: Random) -> Parameters:
    view_timeout_max_ms = random.choice((2_000, 4_000, 8_000))
    return Parameters(
        window_slots=random.choice((1, 2, 2, 2, 2, 3, 4)),
        view_timeout_ms=random.choice((100, 300, 1_000)),
        view_timeout_max_ms=view_timeout_max_ms,
        block_txs_max=random.choice((1, 1, 2, 5, 2_000)),
        rotation_blocks=random.choice((1, 3, 10, 1_000, 1_000, 1_000)),
        rotation_ms=random.choice((2 * view_timeout_max_ms, 600_000, 600_000)),
        fairness_ms=random.choice((1_000, 2_000, 5_000)),
    )


def _draw_machine(random: Random, kinds: tuple[str, ...], parameters: Parameters) -> Machine:
    slowest_us = parameters.view_timeout_ms * MS // 10  # a block waits for two or three syncs
    slow = "slow disks" in kinds
    return Machine(
        clock_offset_ms=random.randrange(-50, 51) if "clocks" in kinds else 0,
        sync_max_us=random.choice((2 * MS, slowest_us)) if slow else 2 * MS,
        check_max_us=random.choice((1 * MS, slowest_us)) if slow else 1 * MS,
        rotate_permille=random.choice((5, 50)) if "rotate" in kinds else 0,
        pool_txs_max=random.choice((5, 20)) if "small pools" in kinds else 5_000,
    )


def _draw_links(random: Random) -> LinkProfile:
    return LinkProfile(
        delay_min_us=random.choice((50, 1 * MS)),
        delay_max_us=random.choice((2, 10, 50, 200)) * MS,
        slow_permille=random.choice((0, 0, 10, 50)),
        slow_max_us=random.choice((100, 500, 2_000)) * MS,
        loss_permille=random.choice((0, 5, 50, 150)),
        duplicate_permille=random.choice((0, 0, 20, 200)),
        corrupt_permille=random.choice((0, 0, 0, 10)),
        in_order=random.randrange(2) == 0,
    )


def _draw_workload(random: Random) -> WorkloadProfile:
    return WorkloadProfile(
        asking_permille=random.choice((200, 500, 1_000, 1_000)),
        habits=random.choice((tuple(Habit), *((habit,) for habit in Habit))),
        retry_us=random.choice((1, 4)) * SECOND,
        burst_max=random.choice((1, 4, 10)),
        to_all_permille=random.choice((0, 200, 1_000)),
        resigned_permille=random.choice((0, 0, 300)),
        short_lived_permille=random.choice((0, 0, 100)),
        referenced_permille=random.choice((0, 200, 800)),
    )


def _requests_for(blocks: int, burst_max: int, block_txs_max: int) -> int:
    """Return how many requests fill so many blocks where every burst is served before the next."""
    bursts = range(1, burst_max + 1)
    return blocks * sum(bursts) // sum(-(-burst // block_txs_max) for burst in bursts)


def _parameters_of_outage(drawn: Parameters) -> Parameters:
    """Return parameters under which a minute is cheap to run, and each block ends its view."""
    return replace(
        drawn,
        view_timeout_ms=PATIENT_MS,
        view_timeout_max_ms=2 * PATIENT_MS,
        rotation_blocks=1,
        rotation_ms=600_000,
    )


def _draw_outage(random: Random, size: int, chaos_us: int) -> Silence:
    """Draw a minute in which views follow each other and nothing is decided."""
    every_pair = frozenset((a, b) for a in range(size) for b in range(size) if a != b)
    phase = random.choice((Phase.PREPARE, Phase.COMMIT))
    hush = Hush(beginning_of(MessageKind.VOTE, phase), 1_000, every_pair)
    return Silence(chaos_us * OUTAGE_ASKING_PERMILLE // 2_000, chaos_us, hush)


def _parameters_of_stages(random: Random, drawn: Parameters) -> Parameters:
    """Return parameters under which views can fail in a row, mostly with several blocks in each."""
    return replace(
        drawn,
        view_timeout_ms=min(drawn.view_timeout_ms, STAGE_TIMEOUT_MS),
        block_txs_max=min(drawn.block_txs_max, random.choice((1, 2, 2_000))),
        window_slots=max(drawn.window_slots, random.choice((1, 2, 2))),
    )


def _draw_stages(random: Random, asking_us: int, *, restarts: bool) -> Staged:
    stages = random.choice(_STAGES)
    return Staged(random.randrange(asking_us), stages, restarts)


def _draw_occasions(
    random: Random,
    size: int,
    byzantine: dict[int, tuple[Trick, ...]],
    chaos_us: int,
    asking_us: int,
) -> list[Fault]:
    """Draw what some tricks need to have a chance: a view that carries over, somebody behind."""
    faults: list[Fault] = []
    tricks = [trick for each in byzantine.values() for trick in each]
    if Trick.STARVE in tricks:  # how late others are with bodies is seen where all else is well
        return faults
    at_us = random.randrange(min(asking_us, chaos_us // 2))
    stage = next((_STAGED_FOR[trick] for trick in tricks if trick in _STAGED_FOR), None)
    if stage is not None:
        faults.append(Staged(at_us, (stage,) * 4, restarts=False))
    if {*tricks} & {Trick.FALSE_BODIES, Trick.STUFF}:
        alone = random.choice([v for v in range(size) if v not in byzantine])
        pairs = [(a, alone) for a in range(size) if a != alone]
        pairs += [(alone, a) for a in range(size) if a != alone]
        until_us = min(at_us + random.randrange(2, 5) * SECOND, chaos_us)
        faults.append(Cut(at_us, until_us, tuple(pairs)))
    return faults


def _draw_crashes(random: Random, correct: list[int], spare: int, chaos_us: int) -> list[Crash]:
    """Draw crashes of which never more than `spare` overlap."""
    if not spare:
        return []
    crashes: list[Crash] = []
    taken: list[tuple[int, int, int]] = []  # from, until, validator
    for _ in range(random.choice((1, 2, 4, 8))):
        crash = Crash(
            at_us=random.randrange(chaos_us),
            validator=random.choice(correct),
            point=random.choice(list(CrashPoint)),
            record=random.choice((None, *_RECORDS_AT_STAKE)),
            power_loss=random.randrange(3) > 0,
            down_us=random.choice((1 * MS, 50 * MS, 500 * MS, 2 * SECOND, 4 * SECOND)),
            loses_state=random.randrange(8) == 0,
        )
        until_us = crash.at_us + crash.down_us
        if crash.point is not CrashPoint.AT_ONCE:
            until_us += ARMED_US
        overlapping = [t for t in taken if t[0] <= until_us and crash.at_us <= t[1]]
        if len(overlapping) < spare and all(t[2] != crash.validator for t in overlapping):
            taken.append((crash.at_us, until_us, crash.validator))
            crashes.append(crash)
    return sorted(crashes, key=lambda crash: crash.at_us)


def _draw_blackouts(random: Random, size: int, until_us: int) -> list[Blackout]:
    return [
        Blackout(
            at_us=random.randrange(until_us),
            point=random.choice(list(CrashPoint)),
            record=random.choice((None, *_RECORDS_AT_STAKE)),
            down_us=tuple(random.randrange(10 * MS, 2 * SECOND) for _ in range(size)),
            takes_clients=random.randrange(2) == 0,
        )
        for _ in range(random.choice((1, 1, 2, 4)))
    ]


def _draw_breaks(random: Random, size: int, chaos_us: int) -> list[Break]:
    every_pair = list(combinations(range(size), 2))
    breaks = []
    for _ in range(random.choice((1, 5, 20))):
        broken = random.sample(every_pair, random.randrange(1, len(every_pair) + 1))
        breaks.append(Break(random.randrange(chaos_us), tuple(broken)))
    return breaks


def _draw_cuts(random: Random, size: int, chaos_us: int) -> list[Cut]:
    """Draw successive cuts: one validator alone, two sides, one direction only, or at random."""
    cuts = []
    at_us = random.randrange(chaos_us // 2)
    every_pair = [(a, b) for a in range(size) for b in range(size) if a != b]
    while at_us < chaos_us:
        until_us = min(at_us + random.randrange(50 * MS, 4 * SECOND), chaos_us)
        shape = random.randrange(4)
        if shape == 0:
            alone = random.randrange(size)
            pairs = [pair for pair in every_pair if alone in pair]
        elif shape == 1:
            side = random.choice(list(combinations(range(size), size // 2)))
            pairs = [(a, b) for a, b in every_pair if (a in side) != (b in side)]
        elif shape == 2:
            deaf = random.randrange(size)
            at_ears = random.randrange(2)
            pairs = [pair for pair in every_pair if pair[at_ears] == deaf]
        else:
            pairs = random.sample(every_pair, random.randrange(1, len(every_pair)))
        cuts.append(Cut(at_us, until_us, tuple(pairs)))
        at_us = until_us + random.randrange(1 * MS, 2 * SECOND)
    return cuts


def _draw_bursts(random: Random, chaos_us: int) -> list[Burst]:
    bursts = []
    for _ in range(random.choice((1, 2, 3))):
        at_us = random.randrange(chaos_us)
        until_us = min(at_us + random.randrange(50 * MS, 2 * SECOND), chaos_us)
        profile = LinkProfile(
            delay_max_us=random.choice((2, 100, 1_000)) * MS,
            loss_permille=random.choice((100, 500, 900, 1_000)),
            in_order=False,
        )
        bursts.append(Burst(at_us, until_us, profile))
    return bursts


def _draw_silences(random: Random, size: int, chaos_us: int) -> list[Silence]:
    """Draw silences: mostly votes that do not come, so that validators know unlike things."""
    every_pair = [(a, b) for a in range(size) for b in range(size) if a != b]
    silences = []
    for _ in range(random.choice((1, 3, 6))):
        at_us = random.randrange(chaos_us)
        until_us = min(at_us + random.randrange(10 * MS, 3 * SECOND), chaos_us)
        shape = random.randrange(3)
        if shape == 0:
            hearing = random.sample(range(size), random.randrange(size // 2 + 1))
            pairs = [(a, b) for a, b in every_pair if b not in hearing]
        elif shape == 1:
            pairs = random.sample(every_pair, random.randrange(1, len(every_pair)))
        else:
            pairs = every_pair
        hush = Hush(
            prefix=random.choice(_HUSHED),
            permille=random.choice((500, 700, 850, 1_000)),
            pairs=frozenset(pairs),
        )
        silences.append(Silence(at_us, until_us, hush))
    if random.randrange(3) == 0:  # a long stretch in which votes rarely come to everybody
        prefix = beginning_of(MessageKind.VOTE)
        hush = Hush(prefix, random.choice((400, 600, 750)), frozenset(every_pair))
        silences.append(Silence(0, chaos_us, hush))
    return silences
