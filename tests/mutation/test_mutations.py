"""The mutants are current: all can be planted, and the machine that tries them tells dead from not.

Whether the tests kill them takes hours and is the business of `python -m tests.mutation`.
"""

from __future__ import annotations

import ast
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from tests.mutation.__main__ import main
from tests.mutation.copies import copy_with, environment
from tests.mutation.equivalence import PAGE, VoidProof, proved_equivalent
from tests.mutation.mutant import ROOT, Edit, Mutant, Stale, select
from tests.mutation.operators import MODULES, generic_mutants
from tests.mutation.planted import PLANTED
from tests.mutation.results import is_killed, names_its_tests, read_results, tables
from tests.mutation.trial import Budget, Unsound, simulate
from tests.mutation.warm import warm

GENERIC = generic_mutants(ROOT)
EVERYTHING = [*PLANTED, *GENERIC]
SMALL = """
def is_due(now, times, limit):
    if not times:
        return False
    first = min(sorted(times), key=abs)
    return first <= now and first + 1 < limit
"""
COMPARED = """
def count(read, known, last):
    while (line := read()) is not None:
        if (line or last) in known:
            last = line
    return last
"""
VIEWS = """
def latest(items, item, slot, subject):
    newest = items[-1].certificate.subject.view
    return max(newest, item.header.view, slot.header.view, subject.view)
"""


def test_the_thirty_and_those_of_this_design_are_there_and_name_where_they_come_from() -> None:
    assert [mutant.name for mutant in PLANTED] == [f"M{number:02}" for number in range(1, 37)]
    assert all(len(mutant.known_from.split()) > 1 for mutant in PLANTED)
    assert len({mutant.mistake for mutant in PLANTED}) == len(PLANTED)


@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.name)
def test_a_planted_mistake_finds_its_place_and_can_be_imported(
    mutant: Mutant, tmp_path: Path
) -> None:
    for path, text in mutant.texts(ROOT).items():
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse((ROOT / path).read_text()))
        copy = tmp_path / Path(path).name
        copy.write_text(text)
        spec = spec_from_file_location(f"{mutant.name}.{copy.stem}", copy)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[spec.name]


def test_made_mutants_have_names_of_their_own_and_change_what_they_name() -> None:
    names = [mutant.name for mutant in GENERIC]
    assert len(set(names)) == len(names) > 500
    for path in MODULES:
        unchanged = ast.dump(ast.parse((ROOT / path).read_text()))
        for mutant in [m for m in GENERIC if m.edits[0].path == path][::20]:
            assert ast.dump(ast.parse(mutant.texts(ROOT)[path])) != unchanged, mutant.name


def test_what_is_compared_keeps_the_parentheses_it_needs(tmp_path: Path) -> None:
    for path in MODULES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(COMPARED if path == MODULES[0] else "")
    made = generic_mutants(tmp_path)
    assert [m.changed_lines(tmp_path)[-1] for m in made if ":flip:" in m.name] == [
        "+ while (line := read()) is None:",
        "+ if (line or last) not in known:",
    ]


def test_a_rule_makes_one_mutant_for_each_place(tmp_path: Path) -> None:
    for path in MODULES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(SMALL if path == MODULES[0] else "")
    made = generic_mutants(tmp_path)
    assert [(m.name.partition(":")[2], m.changed_lines(tmp_path)[-1]) for m in made] == [
        ("drop-guard:1", "+ pass"),
        ("negate:1", "+ if (not (not times)):"),
        ("truth:1", "+ return True"),
        ("swap:1", "+ first = max(sorted(times), key=abs)"),
        ("unsorted:1", "+ first = min(list(times), key=abs)"),
        ("drop-term:1", "+ return (first + 1 < limit)"),
        ("drop-term:2", "+ return (first <= now)"),
        ("flip:1", "+ return first > now and first + 1 < limit"),
        ("bound:1", "+ return first < now and first + 1 < limit"),
        ("flip:2", "+ return first <= now and first + 1 >= limit"),
        ("bound:2", "+ return first <= now and first + 1 <= limit"),
        ("step:1", "+ return first <= now and first < limit"),
    ]


def test_where_a_header_was_proposed_and_where_it_was_certified_are_confused(
    tmp_path: Path,
) -> None:
    for path in MODULES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(VIEWS if path == MODULES[0] else "")
    made = [m for m in generic_mutants(tmp_path) if ":other-view:" in m.name]
    assert [m.changed_lines(tmp_path)[-1] for m in made] == [
        "+ newest = items[-1].header.view",
        "+ return max(newest, item.certificate.subject.view, slot.header.view, subject.view)",
    ]


def test_a_mutant_whose_text_is_gone_or_stands_twice_fails(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("a = 1\nb = 1\n")
    for old in ("c = 1", "= 1"):
        with pytest.raises(Stale):
            Mutant("X", "", "", (Edit("module.py", old, ""),)).texts(tmp_path)


def test_mutants_are_selected_by_how_their_names_begin() -> None:
    assert [m.name for m in select(EVERYTHING, ["M07", "M3"])] == [
        "M07",
        *(f"M3{digit}" for digit in range(7)),
    ]
    assert select(EVERYTHING, []) == EVERYTHING
    with pytest.raises(LookupError):
        select(EVERYTHING, ["M99"])


def test_a_name_that_fits_no_mutant_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["python -m tests.mutation", "--only", "M07,M99", "--list"])
    assert main() == 2
    assert "no mutant M99" in capsys.readouterr().err


def test_every_proof_of_equivalence_is_of_a_mutant_that_exists() -> None:
    proofs = proved_equivalent(EVERYTHING, ROOT, PAGE.read_text())
    assert all(len(proof.split()) > 10 for proof in proofs.values())


def test_nothing_that_a_test_killed_is_proved_equivalent() -> None:
    results = read_results()
    proved = proved_equivalent(EVERYTHING, ROOT, PAGE.read_text())
    assert not [name for name in proved if is_killed(results.get(name, {}))]


def test_a_proof_about_other_lines_is_void() -> None:
    mutant = PLANTED[0]
    section = "## `{}`\n\n```diff\n{}\n```\n\nBecause.\n"
    lines = "\n".join(mutant.changed_lines(ROOT))
    sound = section.format(mutant.name, lines)
    assert proved_equivalent(PLANTED, ROOT, sound) == {mutant.name: "Because."}
    for unsound in (
        section.format("M99", lines),
        section.format(mutant.name, "- gone\n+ new"),
        f"## `{mutant.name}`\n\nBecause.\n",
        f"{sound}\n{sound}",
    ):
        with pytest.raises(VoidProof):
            proved_equivalent(PLANTED, ROOT, unsound)


def test_recorded_results_are_of_mutants_that_exist_and_fill_the_tables() -> None:
    results = read_results()
    assert set(results) <= {mutant.name for mutant in EVERYTHING}
    told = tables(EVERYTHING, results, ())
    assert all(name in told for name in results if name in {m.name for m in PLANTED})


def test_rooms_are_summed_up_by_what_settles_their_mutants() -> None:
    made = [m for m in GENERIC if m.edits[0].path.startswith("node/storage/")][:4]
    killed, survived, proved = made[:3]
    verdicts = {
        killed.name: {"digest": killed.digest, "unit": {"test": "a"}},
        survived.name: {"digest": survived.digest, "unit": {"test": ""}},
    }
    told = tables(made, verdicts, {proved.name})
    assert "| node/storage | 4 | 1 | 1 | 2 | 50.0 % |" in told
    assert "| all | 4 | 1 | 1 | 2 | 50.0 % |" in told


def test_a_copy_without_a_mutant_survives_and_one_with_a_mutant_dies(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    for folder in ("node", "tests/simulation"):
        for path in (ROOT / folder).rglob("*.py"):
            copy = sources / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    before = (ROOT / "node/chain/certificate.py").read_bytes()
    forgets_the_phase = next(mutant for mutant in PLANTED if mutant.name == "M05")
    budget = Budget(seeds=1, minutes=10, starts=1)  # of a busy machine
    with copy_with(None, sources) as root:
        assert not is_killed({"simulation": simulate(root, budget, sources).fields()})
    with copy_with(forgets_the_phase, sources) as root:
        fields = simulate(root, budget, sources).fields()
        assert (fields["oracle"], fields["median_seeds"]) == ("D1", 1)
        with pytest.raises(Unsound, match="D1"):
            simulate(root, budget, root)  # which fails as it is
    assert (sources / "node/chain/certificate.py").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["sources"]


def test_a_mistake_in_two_files_is_planted_in_both_where_the_tests_are_ready(
    tmp_path: Path,
) -> None:
    (tmp_path / "floor.py").write_text("def lowest():\n    return 1\n")
    (tmp_path / "ceiling.py").write_text("def highest():\n    return 3\n")
    (tmp_path / "test_room.py").write_text(
        "from ceiling import highest\nfrom floor import lowest\n\n\n"
        "def test_there_is_room():\n    assert lowest() < highest()\n"
    )
    raised = Edit("floor.py", "return 1", "return 2")
    lowered = Edit("ceiling.py", "return 3", "return 2")
    with warm(tmp_path, ["test_room.py"]) as tests:
        assert tests.first_to_find(None) == ""
        assert tests.first_to_find(Mutant("X", "", "", (raised,))) == ""
        assert tests.first_to_find(Mutant("Y", "", "", (lowered,))) == ""
        both = Mutant("Z", "", "", (raised, lowered))
        assert tests.first_to_find(both) == "test_room.py::test_there_is_room"


def test_a_module_that_no_test_imports_kills_nothing(tmp_path: Path) -> None:
    (tmp_path / "unused.py").write_text("def lowest():\n    return 1\n")
    (tmp_path / "test_room.py").write_text("def test_there_is_room():\n    assert 1 < 3\n")
    with warm(tmp_path, ["test_room.py"]) as tests:
        unseen = Mutant("X", "", "", (Edit("unused.py", "return 1", "return 2"),))
        assert tests.first_to_find(unseen) == ""


def test_what_cannot_be_planted_where_the_tests_are_ready_is_not_killed_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "floor.py").write_text("LOWEST = 1\n")
    (tmp_path / "test_room.py").write_text(
        "from floor import LOWEST\n\n\ndef test_there_is_room():\n    assert LOWEST < 3\n"
    )
    with warm(tmp_path, ["test_room.py"]) as tests:
        on_import = Mutant("X", "", "", (Edit("floor.py", "= 1", "= 3"),))
        assert tests.first_to_find(on_import) == ""
    assert "X not planted: no function of floor.py is changed" in capsys.readouterr().err


def test_a_verdict_by_a_test_that_is_no_more_is_out_of_date(tmp_path: Path) -> None:
    (tmp_path / "test_room.py").write_text("def test_there_is_room():\n    assert 1 < 3\n")
    assert names_its_tests({}, tmp_path)
    assert names_its_tests({"simulation": {"oracle": "D1"}, "unit": {"test": ""}}, tmp_path)
    for test, is_there in (
        ("test_room.py::test_there_is_room[1-2]", True),
        ("test_room.py::test_there_is", False),
        ("test_gone.py::test_there_is_room", False),
        ("SyntaxError: invalid syntax", False),
    ):
        assert names_its_tests({"unit": {"test": test}}, tmp_path) is is_there


def test_a_copy_finds_libraries_where_this_process_does_and_no_sources_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), "/libraries"]))
    told = environment(tmp_path, hash_seed=1)["PYTHONPATH"]
    assert told.split(os.pathsep) == [str(tmp_path), "/libraries"]
