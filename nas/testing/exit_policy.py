"""The laws of an exit policy: it decides on a device as thresholds were solved for it, and can be sent there."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.exits.base import ExitPolicy
from nas.testing.laws import BrokenLaw, laws, require

#: What exits give so far.
OUTPUTS: Final = ("logits",)
_SAME: Final = 1e-9


def _cases() -> Iterator[NDArray[np.float32]]:
    """Logits [n, K, classes]: ordinary ones, very sure ones, equal ones, one exit and many, two classes and many."""
    for seed, (n, exits, classes, scale) in enumerate(
        [(40, 3, 10, 1.0), (40, 3, 10, 30.0), (7, 1, 2, 3.0), (20, 6, 100, 5.0), (3, 2, 4, 0.0)]
    ):
        rng = np.random.default_rng(seed)
        yield (scale * rng.standard_normal((n, exits, classes))).astype(np.float32)


def it_has_what_a_run_uses(policy: ExitPolicy) -> None:
    """It says what it needs and whether it has a history, scores, starts and steps"""
    for member in ("needs", "has_history", "scores", "start", "step"):
        require(hasattr(policy, member), f"it has no `{member}`", "see nas.exits.base.ExitPolicy")
    unknown = sorted(set(policy.needs) - set(OUTPUTS))
    require(not unknown, f"it needs {unknown}", f"exits give {', '.join(OUTPUTS)}")
    require(isinstance(policy.has_history, bool), f"has_history is {policy.has_history!r}", "say True or False")


def scores_are_finite(policy: ExitPolicy) -> None:
    """Scores are finite, one per sample and exit, in float64"""
    for logits in _cases():
        found = policy.scores({"logits": logits})
        good = getattr(found, "shape", None) == logits.shape[:2] and found.dtype == np.float64
        require(good, f"logits {logits.shape} give {np.shape(found)}", "return float64 [n, K]")
        require(bool(np.isfinite(found).all()), "a score is not finite", "a sample always has to be scored")


def steps_score_as_the_whole(policy: ExitPolicy) -> None:
    """Sample by sample and exit by exit, the scores are those of all at once"""
    for logits in _cases():
        whole = policy.scores({"logits": logits})
        for sample, wanted in zip(logits, whole, strict=True):
            state = policy.start()
            for exit_, score in zip(sample, wanted, strict=True):
                state, found = policy.step(state, {"logits": exit_[None]})
                if not abs(found - score) <= _SAME * max(1.0, abs(score)):
                    raise BrokenLaw(
                        f"offline a sample scores {score!r} and online {found!r}: compute both in float64, alike"
                    )


def samples_are_scored_alone(policy: ExitPolicy) -> None:
    """A sample's scores do not depend on the samples beside it"""
    for logits in _cases():
        whole, alone = policy.scores({"logits": logits}), policy.scores({"logits": logits[:1]})
        require(
            np.allclose(whole[:1], alone, rtol=_SAME, atol=_SAME), "beside others it scores otherwise", "score rows"
        )


def exits_are_scored_alone_without_a_history(policy: ExitPolicy) -> None:
    """Where it says that it has no history, an exit's score depends on no other exit"""
    if policy.has_history:
        return
    for logits in _cases():
        whole = policy.scores({"logits": logits})
        last = policy.scores({"logits": logits[:, -1:]})
        same = np.allclose(whole[:, -1:], last, rtol=_SAME, atol=_SAME)
        require(same, "an exit scores otherwise where it is the only one", "say has_history = True")


def a_sample_leaves_no_trace(policy: ExitPolicy) -> None:
    """What one sample left behind does not score the next: the state has it all"""
    (logits, *_) = _cases()
    first = _walk(policy, logits[0])
    _walk(policy, logits[1])
    require(first == _walk(policy, logits[0]), "a sample scores otherwise after another one", "keep all in the state")


def _walk(policy: ExitPolicy, sample: NDArray[np.float32]) -> list[float]:
    state, found = policy.start(), []
    for exit_ in sample:
        state, score = policy.step(state, {"logits": exit_[None]})
        found.append(float(score))
    return found


def its_file_runs_on_a_board(policy: ExitPolicy) -> None:
    """Its file is Python 3.8 by its grammar, imports numpy and nothing else, and has the class under its own name"""
    path = Path(inspect.getfile(type(policy)))
    text = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text, feature_version=(3, 8))
    except SyntaxError as error:
        raise BrokenLaw(f"{path}, line {error.lineno} is not Python 3.8: {error.msg}; write it in that") from error
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.Import | ast.ImportFrom)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += ["." * node.level + (node.module or "")] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            top = name.partition(".")[0]
            known = top == "numpy" or top in sys.stdlib_module_names
            require(known, f"{path}, line {node.lineno} imports {name}", "it is copied into bundles: numpy alone")
    named = getattr(sys.modules[type(policy).__module__], type(policy).__name__, None)
    require(
        named is type(policy), f"{path} has no {type(policy).__name__}", "let it stand in its module by its own name"
    )


def subject(make: Callable[[], ExitPolicy]) -> tuple[ExitPolicy, str]:
    """The policy that laws take."""
    policy = make()
    return policy, "it has a history" if getattr(policy, "has_history", False) else ""


LAWS: Final = laws(
    it_has_what_a_run_uses,
    scores_are_finite,
    steps_score_as_the_whole,
    samples_are_scored_alone,
    exits_are_scored_alone_without_a_history,
    a_sample_leaves_no_trace,
    its_file_runs_on_a_board,
)
