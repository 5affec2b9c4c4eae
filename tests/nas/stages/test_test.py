"""Test: an artefact that answers otherwise is no winner, and labels are read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.nn import static
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from nas.stages import test as testing
from nas.stages import verify
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
        assert not read and not testing.is_settled(watched)
        testing.test_winners(watched)
        testing.test_winners(watched)
        assert len(read) == len(SMALL["budgets"])
