"""Processes that work for this one: with so many threads, replaced when they die, gone when this one is."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from nas.errors import InputError
from nas.process.facts import cores_used
from nas.process.threads import limited_to
from nas.search.executors import Failure, Serial, processes
from nas.search.executors.dispatch import MOST_DEATHS
from nas.search.executors.processes import Processes
from tests.nas.search.executors import tasks
from tests.nas.search.executors.tasks import is_alive


@pytest.fixture(scope="module")
def two() -> Iterator[Processes]:
    """Two workers; those that die are replaced."""
    with closing(Processes(workers=2, threads_per_worker=1)) as executor:
        yield executor


def test_workers_have_so_many_threads_and_are_there_at_the_same_time(two: Processes, tmp_path: Path) -> None:
    assert list(two.map(tasks.settings, [0])) == [limited_to(1)]
    places = [tmp_path / name for name in "ab"]
    assert list(two.map(tasks.meets, places)) == ["a", "b"]


def test_workers_stay_for_the_next_items(two: Processes) -> None:
    first, second = (set(two.map(tasks.process, range(6))) for _ in range(2))
    assert len(first | second) <= 2 and os.getpid() not in first


def test_a_worker_that_dies_is_replaced_and_its_item_done_again(two: Processes, tmp_path: Path) -> None:
    done = list(two.map(tasks.KilledOnce(tmp_path / "killed", 3), range(8)))
    assert (tmp_path / "killed").exists() and done == [2 * item for item in range(8)]


def test_an_item_that_always_kills_its_worker_is_a_failure_with_the_cause(two: Processes) -> None:
    done = list(two.map(tasks.kills, [0, 1, 2, 7, 4]))
    assert done[::2] == [0, 2, 4]
    assert done[1] == Failure("its process was ended by SIGKILL, 3 times")
    assert done[3] == Failure("its process ended with 7 (no memory left), 3 times")


def test_an_idle_worker_that_dies_is_replaced(two: Processes) -> None:
    for process in set(two.map(tasks.process, range(4))):
        os.kill(process, signal.SIGKILL)
    assert list(two.map(tasks.double, range(4))) == [0, 2, 4, 6]


def test_the_deaths_of_idle_workers_are_not_the_next_item_s(tmp_path: Path) -> None:
    """An item that is given to as many dead workers as would make it a failure, and one that kills another too."""
    with closing(Processes(workers=MOST_DEATHS, threads_per_worker=1)) as executor:
        for mark in ("none", "one"):
            for process in set(executor.map(tasks.process, range(8))):
                os.kill(process, signal.SIGKILL)
            task = tasks.KilledOnce(tmp_path / mark, 5 if mark == "one" else 0)
            assert list(executor.map(task, [5])) == [10]
        assert (tmp_path / "one").exists()


def test_what_cannot_be_sent_back_is_a_failure_of_its_item(two: Processes) -> None:
    (done,) = two.map(tasks.secret, [0])
    assert isinstance(done, Failure) and "pickle" in done.cause


def test_what_a_worker_cannot_import_is_said(two: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    exec("def task(item): return item", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(InputError, match=r"a worker cannot open what it is to do: .*No module named 'only_here'"):
        list(two.map(module.task, [0]))
    assert list(two.map(tasks.double, [1])) == [2], "it goes on with others"


def test_warnings_of_workers_are_passed_on_once(two: Processes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="nas.process"):
        list(two.map(tasks.warns, range(4)))
    assert [record.getMessage() for record in caplog.records] == ["waiting for something"]


def test_who_is_asked_to_stop_stops_and_leaves_no_worker(
    two: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"

    def asked() -> None:
        if mark.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr("nas.search.executors.dispatch.stop_if_asked", asked)
    with pytest.raises(KeyboardInterrupt):
        list(two.map(tasks.sleeps, [str(mark)]))
    assert not is_alive(int(mark.read_text()))


def test_workers_end_with_whoever_began_them(tmp_path: Path) -> None:
    """Also if that is killed while they compute."""
    marks = [str(tmp_path / name) for name in "ab"]
    program = (
        "from nas.search.executors.processes import Processes\n"
        "from tests.nas.search.executors import tasks\n"
        f"list(Processes(workers=2).map(tasks.sleeps, {marks!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment)
    deadline = time.monotonic() + 30
    while not all(Path(mark).exists() and Path(mark).read_text() for mark in marks):
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while any(is_alive(int(Path(mark).read_text())) for mark in marks):
        assert time.monotonic() < deadline, "they outlived it"
        time.sleep(0.01)


def test_that_no_worker_can_begin_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "limited_to", lambda threads: {"PYTHONHOME": "/nowhere"})
    with closing(Processes(workers=1)) as executor, pytest.raises(InputError, match="no worker can begin: its process"):
        list(executor.map(tasks.double, [1]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Processes(workers=0), "workers is 0; give at least 1"),
        (lambda: Processes(workers=-2), "workers is -2"),
        (lambda: Processes(threads_per_worker=0), "threads_per_worker is 0"),
        (lambda: Processes(workers=10**6), "workers is 1000000; give at least 1, and at most 1,000"),
        (lambda: Serial(threads_per_worker=-1), "threads_per_worker is -1"),
        (lambda: Serial(workers=2), "workers is 2, and serial has one: write `processes`"),
    ],
)
def test_numbers_that_cannot_be_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_more_threads_than_cores_are_remarked_on() -> None:
    cores = len(cores_used())
    assert Processes().remark is None and Processes(workers=cores).remark is None
    said = Processes(workers=cores, threads_per_worker=2).remark
    assert said is not None and f"{cores} worker" in said and "of 2 threads each are more than the" in said


def test_one_after_the_other_with_other_threads_takes_a_process_of_its_own() -> None:
    with closing(Serial(threads_per_worker=1)) as executor:
        assert executor.elsewhere and not Serial().elsewhere
        assert list(executor.map(tasks.settings, [0])) == [limited_to(1)]
        assert len(set(executor.map(tasks.process, range(3)))) == 1
