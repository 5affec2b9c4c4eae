"""The kinds of component that an experiment names, and what a field of the settings says beside its type.

A new kind is one line of the table below, and a field `Annotated[ComponentSpec, THAT_KIND]` where it is named.
"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Component = Callable[..., Any]


@dataclass(frozen=True)
class Kind:
    """What may be named in one place: `name` in messages, `registry` the `module:NAME` of the names of ours.

    The program supplies the `given` parameters, without which something is not of this kind, and those of
    `given_if_taken` to what has them; all others are keys in YAML. `complaint` says why something that is about to
    be called is not of this kind, or None.
    """

    name: str
    registry: str
    given: tuple[str, ...] = ()
    given_if_taken: tuple[str, ...] = ()
    complaint: Callable[[Component], str | None] = lambda made: None

    @property
    def known(self) -> Mapping[str, str]:
        """The references of our own by name."""
        module, _, attribute = self.registry.partition(":")
        found: Mapping[str, str] = getattr(importlib.import_module(module), attribute)
        return found


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


def _no_optimiser(made: Component) -> str | None:
    if callable(getattr(made, "begin", None)):
        return None
    return "is no optimiser: it has no method `begin` (nas.optimisers.base.Optimiser)"


DATA: Final = Kind("data", "nas.tasks.image_classification:DATASETS", complaint=_no_loader)
SPACE: Final = Kind("space", "search_spaces:SPACES", ("input_shape", "classes"))
LATENCY_MODEL: Final = Kind(
    "latency model", "latency_models:LATENCY_MODELS", ("profile", "target"), given_if_taken=("calibration",)
)
SEARCHER: Final = Kind("searcher", "nas.searchers:SEARCHERS", ("problem",))
OPTIMISER: Final = Kind("optimiser", "nas.optimisers:OPTIMISERS", complaint=_no_optimiser)
