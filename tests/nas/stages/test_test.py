"""Test: an artefact that answers otherwise is no winner, and labels are read once."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nas.deploy import manifest
from nas.devices import loopback
from nas.devices.base import Times
from nas.devices.measurement import ExitTime
from nas.errors import InputError
from nas.exits.policies import MaxProbability
from nas.nn import static
from nas.run.artefacts import built_for, compiled_beside, require_exported
from nas.run.layout import RunFiles
from nas.run.verdict import ClassRow
from nas.run.verdict_files import load_verdicts
from nas.run.winners import files_of, standing
from nas.stages import test as testing
from nas.stages import verify
from nas.tasks.image_classification.balance import hits_by_class
from tests.nas.opened_runs import opened
from tests.nas.small_runs import SMALL


def test_an_artefact_that_answers_otherwise_is_no_winner(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = static.network_logits
    monkeypatch.setattr(static, "network_logits", lambda *arguments: -logits(*arguments))
    with opened(run) as context:
        verify.measure_winners(context)
        assert not testing.test_winners(context).kept
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.tested and not verdicts.kept and len(verdicts.winners) == len(SMALL["budgets"])
    for verdict in verdicts.winners:
        assert verdict.kept is False and {check.runtime: check.ok for check in verdict.checks}["onnxruntime"] is False
        assert verdict.reason == "onnxruntime answers differently from JAX: see parity"


def test_test_labels_are_read_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(run) as context:
        read: list[int] = []

        class Watched:
            def __getattr__(self, name: str) -> Any:
                if name == "test_labels":
                    read.append(1)
                return getattr(context.data, name)

        watched = replace(context, data=Watched())
        assert testing.is_settled(watched) and testing.test_winners(watched).kept and not read
        verify.measure_winners(watched)
        assert not read and not load_verdicts(watched.files).tested
        testing.test_winners(watched)
        testing.test_winners(watched)
        assert len(read) == len(SMALL["budgets"])


def test_a_class_that_is_never_recognised_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_of_three(*given: Any) -> Any:
        hits, counts = hits_by_class(*given)
        return np.where(np.arange(10) == 3, 0, hits), np.where(np.arange(10) == 4, 0, counts)

    monkeypatch.setattr(testing, "hits_by_class", none_of_three)
    with opened(run) as context:
        (run / "test.json").unlink()
        testing.test_winners(context)
    assert [message for message in caplog.messages if "recognised" in message] == [
        f"{name}: no test image of 1 of 10 classes is recognised: '3'" for name in ("worst", "mean")
    ]
    for verdict in load_verdicts(RunFiles(run)).winners:
        assert verdict.classes[3].recall == 0 and verdict.classes[3].interval is not None
        assert verdict.classes[4] == ClassRow("4", 0, None, None)


@pytest.mark.parametrize(
    "failure", [InputError("TVM is not installed"), RuntimeError("no such symbol"), OSError("gone")]
)
def test_tvm_that_went_away_since_the_export_is_said_and_stops_nothing(
    failure: Exception, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: Any) -> Any:
        raise failure

    with opened(run) as context:
        winner = standing(context)[0]["worst"]
        key = built_for(compiled_beside(context.experiment.target))
        compiled = replace(manifest.load(files_of(context, winner).root), libraries={key: ("exit_0.so",)})
        monkeypatch.setattr(testing, "InProcess", gone)
        checks, seconds = testing._tvm(context, winner, compiled, np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert seconds is None and [check.runtime for check in checks] == ["tvm", "tvm_rpc"]
    assert {check.skipped for check in checks} == {f"TVM failed: {failure}"}


@pytest.mark.parametrize("refused", ["", "the core was busy"])
def test_seconds_of_tvm_that_could_not_be_measured_are_not_told(
    refused: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SimpleNamespace(
        run_all=lambda name, batch: [np.zeros((1, 3), np.float32)],
        time=lambda *asked: {"": Times((ExitTime(2e-3, np.inf if refused else 3e-3, refused=refused),))},
    )

    monkeypatch.setattr(
        testing, "InProcess", lambda target: SimpleNamespace(open=lambda libraries: nullcontext(session))
    )
    monkeypatch.setattr(
        loopback, "Loopback", lambda target: SimpleNamespace(open=lambda libraries: nullcontext(session))
    )
    monkeypatch.setattr(testing, "shipped", lambda context, winner, target: None)
    compared = testing._Compared(np.zeros((2, 1, 3), np.float32), np.zeros(2, np.int32), MaxProbability(), ())
    with opened(run) as context:
        winner = standing(context)[0]["worst"]
        libraries = {built_for(compiled_beside(context.experiment.target_of(winner.budget))): ("a",)}
        found = replace(require_exported(context, winner), libraries=libraries)
        checks, seconds = testing._tvm(context, winner, found, np.zeros((2, 1, 8, 8), np.float32), compared)
    assert [check.ok for check in checks] == [True, True] and seconds == (None if refused else 2e-3)
