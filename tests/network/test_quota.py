"""One organisation floods a network of real processes: it is told when to come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from node.chain.admission import AdmissionCode
from node.chain.block import ResultCode
from tests.network.local_network import running_network
from tests.network.test_rights import ADMIN, govchain

WAITING_MAX = 20
FLOOD = 400


async def test_who_floods_is_told_when_to_come_back_and_others_are_served_meanwhile(
    tmp_path: Path,
) -> None:
    home = tmp_path / "network"
    document = tmp_path / "licence.pdf"
    document.write_bytes(b"of another organisation")
    with running_network(home) as network:
        await network.until_ready(network.ids)
        added = await govchain(
            home,
            "identity",
            "add",
            "agency-9",
            "--organisation",
            "org-2",
            "--role",
            "agency",
            *ADMIN,
        )
        assert added.code == 0, added.out
        asked = ("org", "quota", "org-1", "--waiting", WAITING_MAX, *ADMIN)
        limited = await govchain(home, *asked)
        assert limited.code == 0, limited.out
        shown = await govchain(home, "org", "show", "org-1", *ADMIN)
        assert shown.json["quota"] == {"share": 1, "waiting_max": WAITING_MAX}

        async with network.client("validator-1") as client:
            flood = [network.transaction().encoded for _ in range(FLOOD)]
            under_way = asyncio.ensure_future(client.submit(flood))
            other = await govchain(
                home, "notarize", document, "--out", tmp_path / "receipts", "--as", "agency-9"
            )
            assert other.code == 0, other.out
            outcomes = await under_way
            codes = Counter(each.admission.code for each in outcomes)
            refused = [each for each in outcomes if not each.admission.code.is_admitted]
            assert codes[AdmissionCode.OVER_QUOTA] == len(refused) > 0
            assert codes[AdmissionCode.ACCEPTED] >= WAITING_MAX
            assert all(0 < each.admission.retry_after_ms <= 10_000 for each in refused)
            for each in outcomes:
                if each.admission.code.is_admitted:
                    assert each.final().code is ResultCode.OK

        many = tmp_path / "many"
        many.mkdir()
        for number in range(3 * WAITING_MAX):
            (many / f"{number}.pdf").write_bytes(b"document %d" % number)
        through = await govchain(
            home, "notarize", many, "--batch", 1, "--out", tmp_path / "more", "--as", "agency-1"
        )
        assert through.code == 0, through.out  # it waits as it is told, and goes on

        freed = await govchain(home, "org", "quota", "org-1", "--default", *ADMIN)
        assert freed.code == 0, freed.out
        async with network.client("validator-1") as client:
            outcomes = await client.submit([network.transaction().encoded for _ in range(FLOOD)])
            assert {each.final().code for each in outcomes} == {ResultCode.OK}
