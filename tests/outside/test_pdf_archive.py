"""veraPDF finds the PDF files that we make to be PDF/A-3a, and notices one that is not.

It is run where the variable GOVCHAIN_VERAPDF names its jar, which Maven fetches:

    mvn dependency:get -Dartifact=org.verapdf.apps:greenfield-apps:1.28.2 -Dtransitive=false
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from node.cli.paper.render import render_pdf, render_report_pdf
from node.timestamp.receipt import Receipt
from tests.outside.environments import RUN_TIMEOUT_S
from tests.unit.cli.paper.test_audit_texts import REPORT

GOLDEN = Path(__file__).parents[1] / "vectors" / "receipt" / "document.txt.pdf"
COMPACT = GOLDEN.with_name("compact.receipt")
VARIABLE = "GOVCHAIN_VERAPDF"
PROGRAM = "org.verapdf.apps.GreenfieldCliWrapper"


def failed_rules(*files: Path) -> list[list[str]]:
    """Return the clauses of ISO 19005-3 that each file breaks."""
    jar = os.environ.get(VARIABLE)
    if jar is None or shutil.which("java") is None:
        pytest.skip(f"NOT RUN: {VARIABLE} does not name a jar of veraPDF, or there is no Java")
    command = ["java", "-cp", jar, PROGRAM, "--format", "json", "--flavour", "3a"]
    done = subprocess.run(
        [*command, *map(str, files)], capture_output=True, check=False, timeout=RUN_TIMEOUT_S
    )
    results = [job["validationResult"][0] for job in json.loads(done.stdout)["report"]["jobs"]]
    assert [result["jobEndStatus"] for result in results] == ["normal"] * len(files)
    found = [[rule["clause"] for rule in result["details"]["ruleSummaries"]] for result in results]
    assert [result["compliant"] for result in results] == [not rules for rules in found]
    return found


def test_certificates_and_reports_are_pdf_a_3a(tmp_path: Path) -> None:
    coded, report, unmarked = (tmp_path / f"{name}.pdf" for name in ("coded", "report", "unmarked"))
    coded.write_bytes(render_pdf(Receipt.decode(COMPACT.read_bytes())))
    report.write_bytes(render_report_pdf(b"{}", REPORT))
    data = GOLDEN.read_bytes()
    assert data.count(b"/AFRelationship") == 1
    unmarked.write_bytes(data.replace(b"/AFRelationship", b"/XXRelationship"))
    *whole, broken = failed_rules(GOLDEN, coded, report, unmarked)
    assert whole == [[], [], []]
    assert broken == ["6.8"]
