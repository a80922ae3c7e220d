"""The page of a report as people read it: opened from disk in Chromium, in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.bench.page.bundle import bundle
from tests.outside.chromium import Browser, Tab, browser, new_tab
from tests.unit.cli.bench.results import case, result

HOSTILE = "<img src=x onerror=alert(1)></script>"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    noisy = case(7, per_second=40, others_cores=1.0)
    path.write_bytes(bundle([result(case(), noisy, cpu=HOSTILE)]))
    return path


def opened(running: Browser, page: Path, language: str = "en-US") -> Tab:
    tab = new_tab(running, language=language)
    tab.open(page)
    tab.wait_until("document.querySelectorAll('canvas').length")
    return tab


def test_figures_and_plots_are_there_and_nothing_is_asked_for(running: Browser, page: Path) -> None:
    tab = opened(running, page)
    text = tab.run("document.body.innerText")
    assert "Saturation" in text
    assert "4 validators" in text
    assert "transactions final per second\t100\t40" in text
    assert "Other programs used the machine during every run" in text  # of the second case
    assert "4 validators: 100 transactions final per second; half of them within 20 ms" in text
    assert "Measured on 2 cores" in text
    assert tab.run("document.querySelectorAll('.length').length") == 2 * 2  # side by side
    assert HOSTILE in text
    assert tab.run("document.querySelectorAll('img').length") == 0
    assert tab.run("document.querySelectorAll('.uplot canvas').length") == 8  # four plots a case
    drawn = """Array.from(document.querySelectorAll('.uplot canvas'), (canvas) =>
      canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
        .data.some((byte) => byte))"""
    assert tab.run(drawn) == [True] * 8
    assert tab.run("document.querySelectorAll('.split span').length") == 2 * (3 + 3)
    asked = [each["request"]["url"] for each in tab.events("Network.requestWillBeSent")]
    assert {url.partition(":")[0] for url in asked} <= {"file"}
    assert tab.events("Runtime.exceptionThrown") == []
    assert tab.events("Log.entryAdded") == []  # the policy had nothing to forbid


def test_it_speaks_the_language_of_the_browser_and_the_one_chosen(
    running: Browser, page: Path
) -> None:
    tab = opened(running, page, "zh-CN")
    title = "document.getElementById('title').textContent"
    assert tab.run(title) == "测量结果"
    text = tab.run("document.body.innerText")
    assert "4 个验证节点: 每秒最终确认 100 笔交易" in text
    assert "安静的秒" in text
    tab.run("document.getElementById('language-en').click()")
    assert tab.run(title) == "What was measured"
    assert tab.run("document.documentElement.lang") == "en"
    assert tab.run("document.querySelectorAll('.uplot canvas').length") == 8
