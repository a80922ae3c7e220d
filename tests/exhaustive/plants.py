"""Mistakes known from real systems, each planted in a copy of the core's source.

The copy is made in memory: the text of four modules with a few lines replaced. A plant whose text
is no longer found fails, so that none is left behind by a change of the core.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

from node.consensus.core import Core
from node.consensus.new_view import new_view as real_new_view
from tests.exhaustive.chain import NewViewRule


@dataclass(frozen=True, slots=True)
class Plant:
    """One mistake."""

    name: str
    mistake: str
    edits: tuple[tuple[str, str, str], ...]
    """Module below node.consensus, text, replacement."""


PLANTS = (
    Plant(
        "lowest-view",
        "a new view takes the prepared certificate of the lowest view",
        (
            (
                "new_view",
                "chosen = max(candidates, key=lambda item: (item.certificate.subject.view,",
                "chosen = min(candidates, key=lambda item: (item.certificate.subject.view,",
            ),
        ),
    ),
    Plant(
        "no-parent-rule",
        "a new view takes a prepared certificate whatever its parent",
        (
            (
                "new_view",
                "if item.header.height == height and item.header.parent == parent",
                "if item.header.height == height",
            ),
        ),
    ),
    Plant(
        "small-quorum",
        "a new view starts from f + 1 VIEW-CHANGEs",
        (
            (
                "view_changes",
                "if len(gathered) >= self.validators.quorum else ()",
                "if len(gathered) > self.validators.faults else ()",
            ),
        ),
    ),
    Plant(
        "votes-after-leaving",
        "a validator whose timer ran out says VIEW-CHANGE and goes on voting in its view",
        (
            (
                "core",
                "        self.view, self.view_active = target, False\n",
                (
                    "        said = self._view_changes.of(self.me)\n"
                    "        above = self._view_changes.since(self.view + 1)\n"
                    "        others = [v for v in above if v is not said]\n"
                    "        joins = len(others) > self.validators.faults\n"
                    "        if joins or not self.view_active or (said and said.view >= target):\n"
                    "            self.view, self.view_active = target, False\n"
                ),
            ),
        ),
    ),
    Plant(
        "mixed-views",
        "votes of an earlier view for the same header count in a later one",
        (
            (
                "state",
                "        self.prepares, self.commits, self.accused = {}, {}, {}\n",
                "        self.accused = {}\n",
            ),
        ),
    ),
    Plant(
        "commit-unprepared-below",
        "COMMIT is sent above a height that is not prepared in this view",
        (
            (
                "core",
                "if unbroken and not slot.commit_cast:",
                "if slot.prepared_here and not slot.commit_cast:",
            ),
        ),
    ),
    Plant(
        "forgets-on-leaving",
        "a VIEW-CHANGE shows no prepared certificates",
        (
            (
                "core",
                "slots_prepared(self._slots, self.tip.height, self.tip.height + self._window)",
                "slots_prepared(self._slots, self.tip.height, self.tip.height)",
            ),
        ),
    ),
    Plant(
        "lowest-base",
        "the base of a new view is the lowest of the tips shown",
        (("new_view", "base = max((vc.committed for vc", "base = min((vc.committed for vc"),),
    ),
    Plant(
        "second-offer",
        "a later proposal for the same height replaces the first",
        (
            (
                "core",
                "        if slot.offer is None:\n            slot.offer = Offer(",
                (
                    "        if slot.digest != subject.header_digest:\n"
                    "            slot.header, slot.prepare_cast = None, False\n"
                    "            self._cast.pop((Phase.PREPARE, subject.height), None)\n"
                    "            slot.offer = Offer("
                ),
            ),
        ),
    ),
)


def unplanted() -> tuple[type[Core], NewViewRule]:
    """Return the core and the new-view rule as they are."""
    return Core, real_new_view


def planted(name: str) -> tuple[type[Core], NewViewRule]:
    """Return the core and the new-view rule with a mistake in them."""
    plant = next(plant for plant in PLANTS if plant.name == name)
    new_view = _edited("new_view", plant)
    state = _edited("state", plant)
    view_changes = _edited("view_changes", plant)
    core = _edited("core", plant)
    vars(core).update(
        new_view=new_view.new_view,
        Slot=state.Slot,
        slots_prepared=state.slots_prepared,
        ViewChanges=view_changes.ViewChanges,
    )
    return core.Core, new_view.new_view


def _edited(name: str, plant: Plant) -> ModuleType:
    spec = find_spec(f"node.consensus.{name}")
    if spec is None or spec.origin is None:
        raise LookupError(f"no module node.consensus.{name}")
    text = Path(spec.origin).read_text()
    for edited, old, new in plant.edits:
        if edited == name:
            if text.count(old) != 1:
                raise LookupError(f"plant {plant.name}: its text is not in {name}.py once: {old}")
            text = text.replace(old, new)
    module = module_from_spec(spec)
    module.__name__ = f"{plant.name}.{name}"
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(text, f"{name}.py with {plant.name}", "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]
    return module
