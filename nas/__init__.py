"""Hardware-aware neural architecture search: name a device and a budget, get networks that keep it, measured.

    import nas

    experiment = nas.load_experiment("experiment.yaml")
    run = nas.run_experiment(experiment, "runs/mine")
    model = nas.load_winner(run, "fast")  # a flax nnx.Module

`nas.api` has these names; they are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.process.release import VERSION

if TYPE_CHECKING:
    from hardware_profiles import Target as Target
    from nas.api import Experiment as Experiment
    from nas.api import InputError as InputError
    from nas.api import NothingFits as NothingFits
    from nas.api import Run as Run
    from nas.api import Verdicts as Verdicts
    from nas.api import load_experiment as load_experiment
    from nas.api import load_winner as load_winner
    from nas.api import open_run as open_run
    from nas.api import run_experiment as run_experiment
    from nas.api import search_experiment as search_experiment
    from nas.api import verify_run as verify_run
    from search_spaces.ir import Network as Network

__version__ = VERSION

_API = (
    *("Experiment", "InputError", "NothingFits", "Run", "Verdicts", "load_experiment", "load_winner", "open_run"),
    *("run_experiment", "search_experiment", "verify_run"),
)
_PLACES = {**dict.fromkeys(_API, "nas.api"), "Network": "search_spaces.ir", "Target": "hardware_profiles"}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
