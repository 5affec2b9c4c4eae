"""Many processes that append to one log, and to one journal of Optuna: nothing is lost, and nothing torn."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from nas.process.files import read_jsonl

PROCESSES, RECORDS, TRIALS = 32, 12, 1
PROGRAM = f"""
import os, sys, warnings
from pathlib import Path
from nas.process.files import append_jsonl

log, journal = Path(sys.argv[1]), sys.argv[2]
if journal:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.disable_default_handler()
    optuna.create_study(study_name="one", storage=JournalStorage(JournalFileBackend(journal)))


def work(number):
    if journal:
        study = optuna.load_study(study_name="one", storage=JournalStorage(JournalFileBackend(journal)))
    else:
        for record in range({RECORDS}):
            append_jsonl(log, [{{"process": number, "record": record, "text": "x" * (700 * (record % 4))}}])
        return
    for _ in range({TRIALS}):
        trial = study.ask()
        trial.set_user_attr("process", number)
        study.tell(trial, trial.suggest_float("x", 0, 1))


children = []
for number in range({PROCESSES}):
    child = os.fork()
    if not child:
        try:
            work(number)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def appended(log: Path, journal: str = "") -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(log), journal], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_many_processes_append_to_one_log(tmp_path: Path) -> None:
    """Each line has its number, so that `read_jsonl` would find one that is lost or stands twice."""
    appended(tmp_path / "log.jsonl")
    records = read_jsonl(tmp_path / "log.jsonl")
    for number in range(PROCESSES):
        own = [record["record"] for record in records if record["process"] == number]
        assert own == list(range(RECORDS)), "each process's own, in its order"
    assert len(records) == PROCESSES * RECORDS


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed")
def test_many_processes_append_to_one_journal_of_optuna(tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    appended(tmp_path / "log.jsonl", str(tmp_path / "journal.log"))
    study = optuna.load_study(
        study_name="one", storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    )
    assert sorted(trial.number for trial in study.trials) == list(range(PROCESSES * TRIALS))
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    found = [trial.user_attrs["process"] for trial in study.trials]
    assert all(found.count(number) == TRIALS for number in range(PROCESSES))
