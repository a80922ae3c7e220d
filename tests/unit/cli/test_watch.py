"""A folder watched: what settles in it is recorded once, whatever happens to the watching."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.chain.transaction import Transaction
from node.cli.exit_codes import ExitCode
from node.cli.inputs import Document
from node.cli.watching import Settling
from tests.unit.cli.command import Ran, run
from tests.unit.cli.instant import Office
from tests.unit.cli.served import served


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = Office(tmp_path)
    with served(found.node, found.home, found.node.chain.chain_id):
        yield found


def watch(office: Office, *more: object) -> Ran:
    """Watch the documents until told to stop."""
    options = ("--home", office.home, "--out", office.out, "--every", 0.1, "--wait", 0)
    return run("watch", office.documents, *options, *more)


def stop(_transaction: Transaction | None = None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class TestSettling:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "file"
        path.write_text("content")
        return path

    def look(self, settling: Settling, file: Path) -> bool:
        document = Document("file", file)
        return settling.look([document]) == [document]

    def test_a_file_has_settled_at_the_second_look_alike(self, file: Path) -> None:
        settling = Settling()
        assert [self.look(settling, file) for _ in range(3)] == [False, True, True]
        settling.finish(file)
        assert not self.look(settling, file)

    def test_what_changes_has_not_settled(self, file: Path) -> None:
        settling = Settling()
        looks = []
        for number in range(3):
            file.write_text("x" * number)
            looks.append(self.look(settling, file))
        assert looks == [False, False, False]
        os.utime(file, ns=(1, 1))
        assert [self.look(settling, file) for _ in range(2)] == [False, True]

    def test_a_file_changed_after_it_was_dealt_with_counts_again(self, file: Path) -> None:
        settling = Settling()
        assert [self.look(settling, file) for _ in range(2)] == [False, True]
        settling.finish(file)
        file.write_text("other content")
        assert [self.look(settling, file) for _ in range(2)] == [False, True]

    def test_what_went_and_came_back_settles_anew(self, file: Path) -> None:
        settling = Settling()
        assert [self.look(settling, file) for _ in range(2)] == [False, True]
        settling.finish(file)
        gone = file.rename(file.with_name("gone"))
        assert not self.look(settling, file)
        gone.rename(file)
        assert [self.look(settling, file) for _ in range(2)] == [False, True]


def test_what_comes_is_recorded_once_also_after_a_new_start(office: Office) -> None:
    office.write("a", "b")
    office.node.after_commit = stop
    assert watch(office).code == ExitCode.DONE
    office.expect_all_once()
    office.write("c")
    ran = watch(office, "--json")
    assert ran.code == ExitCode.DONE
    assert (ran.json["recorded"], ran.json["recorded_before"], ran.json["failed"]) == (1, 2, 0)
    office.expect_all_once()


def test_what_an_earlier_watch_had_sent_is_finished(office: Office) -> None:
    office.write("a")
    office.node.receipts_max = 0
    office.node.after_commit = stop
    assert watch(office).code == ExitCode.DONE
    assert office.under_way
    office.node.receipts_max = None
    timer = threading.Timer(1, stop)
    timer.start()
    ran = watch(office)
    timer.join()
    assert ran.code == ExitCode.DONE
    office.expect_all_once()


def test_what_is_wrong_is_said_once_and_tried_again(office: Office) -> None:
    office.write("a")
    office.node.is_ready = lambda times: not 0 < times < 7
    office.node.after_commit = stop
    ran = watch(office)
    assert ran.code == ExitCode.DONE
    assert ran.err.count("none is ready") == 1
    assert ran.out.count("RECORDED") == 1
    office.expect_all_once()


def test_what_cannot_be_read_is_said_once(office: Office) -> None:
    office.write("a")
    (office.documents / "loop").symlink_to(office.documents)
    office.node.after_commit = stop
    ran = watch(office, "--json")
    assert ran.json["looks"] >= 2
    (office.documents / "a").write_text("another content")
    assert watch(office).out.count("leads back") == 1


def test_receipts_may_not_be_documents(office: Office) -> None:
    options = ("--home", office.home, "--out", office.documents)
    ran = run("watch", office.documents, *options)
    assert ran.code == ExitCode.USAGE
    assert "another folder" in ran.err


def test_one_watch_at_a_time_writes_to_a_folder(office: Office) -> None:
    office.write("a")
    told = []

    def watch_too(_transaction: Transaction) -> None:
        told.append(office.notarize("--resume"))
        stop()

    office.node.after_commit = watch_too
    assert watch(office).code == ExitCode.DONE
    assert told[0].json["error"]["code"] == "GC-2105"
    office.expect_all_once()
