"""Four organisations found a chain: each makes keys at home, one assembles, all check and start."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from pathlib import Path

from node.operations.topology import find_free_ports
from tests.network.local_network import until
from tests.network.test_far_membership import City, expect, govchain
from tests.suites import SUITE
from tests.unit.cli.command import Ran

HOST = "127.0.0.1"
NAMES = ("archive", "bureau", "court", "customs")


async def test_four_organisations_found_a_chain_by_bundles_and_run_it(tmp_path: Path) -> None:
    ports = find_free_ports(HOST, 2 * len(NAMES))
    offices = {name: tmp_path / name for name in NAMES}
    homes = {name: offices[name] / "home" for name in NAMES}
    table = tmp_path / "table"
    table.mkdir()
    for at, (name, folder) in enumerate(offices.items()):
        folder.mkdir()
        made = await govchain(
            *("genesis", "new", homes[name], "--organisation", name, "--suite", SUITE.name),
            *("--authority", folder / "authority", "--title", f"The {name}"),
            *("--listen", f"{HOST}:{ports[2 * at]}", "--clients", f"{HOST}:{ports[2 * at + 1]}"),
        )
        expect(made)
        shutil.copy(homes[name] / "bundle.json", table / f"{name}.json")  # what is sent
    draft, sealed = table / "draft.json", table / "sealed.json"
    first, *others = (table / f"{name}.json" for name in NAMES)
    expect(await govchain("genesis", "add", draft, first, "--name", "city", "--trial"))
    listed = expect(await govchain("genesis", "add", draft, *others))
    assert [each["organisation"] for each in listed.json["organisations"]] == [*NAMES]
    chain_id = expect(await govchain("genesis", "seal", draft, "--out", sealed)).json["chain_id"]
    assert (await govchain("genesis", "seal", draft, "--out", sealed)).code != 0  # never replaced
    for name in NAMES:
        checked = expect(await govchain("genesis", "check", homes[name], sealed))
        taken = expect(await govchain("genesis", "take", homes[name], sealed))
        assert checked.json["chain_id"] == taken.json["chain_id"] == chain_id
        assert taken.json["faults_tolerated"] == 1

    async with AsyncExitStack() as nodes:
        for name in NAMES:
            city = City(offices[name], ())
            await nodes.enter_async_context(city.running(homes[name] / "node"))
        for name in NAMES:
            await City(offices[name], ()).until_health(homes[name] / "node", "READY")
        document = tmp_path / "licence.pdf"
        document.write_bytes(b"a licence")
        profiles = {name: homes[name] / f"clients/agency-{name}/profile.toml" for name in NAMES}
        for name in NAMES:  # an agency of each, by its own validator first
            recorded = await govchain(
                *("notarize", document, "--profile", profiles[name]),
                *("--out", offices[name] / "receipts", "--type", name),
            )
            expect(recorded)
        await decided_by_three(offices, homes)
        listed = await govchain("org", "list", "--profile", profiles["court"])
        assert [each["status"] for each in expect(listed).json["organisations"]] == ["active"] * 4


async def decided_by_three(offices: dict[str, Path], homes: dict[str, Path]) -> None:
    """Have administrators of three organisations agree on a quota for the fourth, by files."""
    step = offices["archive"] / "step.json"

    async def office(name: str, *arguments: object) -> Ran:
        profile = homes[name] / f"clients/admin-{name}/profile.toml"
        said = ("--profile", profile, "--as", f"admin-{name}")
        return await govchain("org", "quota", *arguments, *said)

    expect(await office("archive", "customs", "--waiting", 100, "--propose", step))
    for name in ("archive", "bureau", "court"):
        own = offices[name] / "step.json"
        if own != step:
            step = Path(shutil.copy(step, own))
        expect(await office(name, "--approve", step, "--yes"))
    expect(await office("court", "--submit", step))

    async def is_set() -> bool | None:
        profile = homes["bureau"] / "clients/admin-bureau/profile.toml"
        shown = await govchain("org", "show", "customs", "--profile", profile)
        return expect(shown).json["quota"] == {"share": 1, "waiting_max": 100} or None

    await until(is_set, "the quota is in the state")
