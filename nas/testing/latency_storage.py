"""What a latency model promises of its files: they are all that a prediction needs, in any process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from latency_models.base import LatencyModel
from nas.testing.latency_cases import FITTED, Make, measured, states
from nas.testing.laws import require
from nas.testing.small import networks


@contextmanager
def _stored(model: LatencyModel) -> Iterator[Path]:
    """The file that a model is saved to, by way of bytes, as a run does it; gone afterwards."""
    data = io.BytesIO()
    model.save(data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "latency_model.npz"
        path.write_bytes(data.getvalue())
        yield path


def a_stored_model_predicts_the_same(make: Make) -> None:
    """What `save` wrote `load` reads, and both predict and learn the same"""
    for when, model in states(make):
        with _stored(model) as path:
            again = type(model).load(path)
        require(again.target == model.target, f"{when} the target is {again.target}", f"store {model.target}")
        require(again.error == model.error, f"{when} the error is {again.error}", f"store {model.error}")
        before, after = model.predict(networks()), again.predict(networks())
        require(
            np.array_equal(before.segment_s, after.segment_s, equal_nan=True)
            and np.array_equal(before.covariance, after.covariance)
            and before.degrees_of_freedom == after.degrees_of_freedom,
            f"{when} a stored model predicts other seconds",
            "store all that a prediction needs, in double precision",
        )
        more = slice(FITTED, FITTED + 2)
        cumulative = measured(model)
        one, other = (each.fit(networks()[more], cumulative[more]).predict(networks()) for each in (model, again))
        require(
            np.array_equal(one.segment_s, other.segment_s, equal_nan=True),
            f"{when} a stored model learns otherwise",
            "store the measurements too",
        )


def a_stored_model_loads_in_another_process(make: Make) -> None:
    """A stored model loads in a process that has imported nothing else, and predicts the same"""
    for when, model in states(make):
        kind = type(model)
        require(
            "<locals>" not in kind.__qualname__, f"{kind.__qualname__} is made in a function", "define it in a module"
        )
        with _stored(model) as path:
            out = path.with_suffix(".npy")
            asked = [kind.__module__, kind.__qualname__, str(path), str(out)]
            paths = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
            done = subprocess.run(
                [sys.executable, "-m", "nas.testing.fresh", *asked],
                env={**os.environ, "PYTHONPATH": paths},
                capture_output=True,
                text=True,
                check=False,
            )
            last = (done.stderr.strip().splitlines() or [""])[-1]
            require(
                done.returncode == 0,
                f"{when} a new process ends with {last!r}",
                "let `load` need no more than the file and the model's own module",
            )
            same = np.array_equal(np.load(out), model.predict(networks()).segment_s, equal_nan=True)
            require(same, f"{when} a new process predicts other seconds", "store all that a prediction needs")
