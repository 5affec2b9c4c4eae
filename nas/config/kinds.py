"""The kinds of component that an experiment names, and what a field of the settings says beside its type.

A new kind is one line of the table below, and a field `Annotated[ComponentSpec, THAT_KIND]` where it is named.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Component = Callable[..., Any]


@dataclass(frozen=True)
class Kind:
    """What may be named in one place: `name` in messages, `registry` the `module:NAME` of the names of ours.

    The program supplies the `given` parameters, without which something is not of this kind, and those of
    `given_if_taken` to what has them; all others are keys in YAML. Classes have the `methods` that a run calls and the
    `attributes` that it looks at, of the `protocol`; where `class_only`, a function will not do. `complaint` says why
    something that is about to be called is not of this kind for another reason, or None. `laws` is the module of its
    contract, if it has one (`nas.testing`): LAWS, and `subject`, which makes what they take.
    """

    name: str
    registry: str
    given: tuple[str, ...] = ()
    given_if_taken: tuple[str, ...] = ()
    protocol: str = ""
    methods: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    class_only: bool = False
    complaint: Callable[[Component], str | None] = lambda made: None
    laws: str = ""

    @property
    def known(self) -> Mapping[str, str]:
        """The references of our own by name."""
        module, _, attribute = self.registry.partition(":")
        found: Mapping[str, str] = getattr(importlib.import_module(module), attribute)
        return found

    def objection(self, made: Component) -> str | None:
        """Why what was loaded is not of this kind, None where nothing speaks against it."""
        if self.class_only or inspect.isclass(made):
            for name in self.methods:
                if not callable(getattr(made, name, None)):
                    return f"is no {self.name}: it has no method `{name}` ({self.protocol})"
            for name in self.attributes:
                if not hasattr(made, name):
                    return f"is no {self.name}: its class does not say `{name}` ({self.protocol})"
        return self.complaint(made)


@dataclass(frozen=True)
class Default:
    """What leaving a key out of a YAML means, as a YAML would write it; a function makes it of the keys beside it."""

    written: Any

    def beside(self, keys: Mapping[str, Any]) -> Any:
        """What is meant in a section that has these keys."""
        return self.written(keys) if callable(self.written) else self.written


@dataclass(frozen=True)
class Example:
    """What a message about a key that is missing or cannot be meant shows."""

    text: str


def _no_loader(made: Component) -> str | None:
    from nas.tasks.image_classification.dataset import RawData

    if typing.get_type_hints(made).get("return") is RawData:
        return None
    return "is no loader of data: it has to be annotated to return nas.tasks.image_classification.dataset.RawData"


def _judges_nothing(made: Component) -> str | None:
    if any(callable(getattr(made, name, None)) for name in ("scores", "score")):
        return None
    return "is no evaluator: it has neither method, `scores` nor `score` (nas.search.evaluators.base)"


DATA: Final = Kind("data", "nas.tasks.image_classification:DATASETS", complaint=_no_loader)
SPACE: Final = Kind("space", "search_spaces:SPACES", ("input_shape", "classes"), laws="nas.testing.space")
LATENCY_MODEL: Final = Kind(
    "latency model",
    "latency_models:LATENCY_MODELS",
    ("profile", "target"),
    given_if_taken=("calibration",),
    protocol="latency_models.base.LatencyModel",
    methods=("predict", "fit", "save", "load", "additive"),
    class_only=True,
    laws="nas.testing.latency_model",
)
SEARCHER: Final = Kind(
    "searcher",
    "nas.searchers:SEARCHERS",
    ("problem",),
    protocol="nas.searchers.base.Searcher",
    methods=("ask", "tell"),
    laws="nas.testing.searcher",
)
RUNNER: Final = Kind(
    "runner",
    "nas.devices.runners:RUNNERS",
    ("target",),
    protocol="nas.devices.runners.base.Runner",
    methods=("load",),
    attributes=("builder", "version"),
    class_only=True,
    laws="nas.testing.runner",
)
EVALUATOR: Final = Kind(
    "evaluator",
    "nas.search.evaluators:EVALUATORS",
    ("context",),
    protocol="nas.search.evaluators.base.Evaluator",
    attributes=("needs_weights",),
    class_only=True,
    complaint=_judges_nothing,
    laws="nas.testing.evaluator",
)
EXECUTOR: Final = Kind(
    "executor",
    "nas.search.executors:EXECUTORS",
    protocol="nas.search.executors.Executor",
    methods=("map", "close"),
    class_only=True,
    laws="nas.testing.executor",
)
EXIT_POLICY: Final = Kind(
    "exit policy",
    "nas.exits:POLICIES",
    protocol="nas.exits.base.ExitPolicy",
    methods=("scores", "start", "step"),
    attributes=("needs", "has_history"),
    class_only=True,
    laws="nas.testing.exit_policy",
)
OPTIMISER: Final = Kind(
    "optimiser",
    "nas.optimisers:OPTIMISERS",
    protocol="nas.optimisers.base.ArchitectureOptimiser",
    methods=("begin",),
    class_only=True,
    laws="nas.testing.optimiser",
)
