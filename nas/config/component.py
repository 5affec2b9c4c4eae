"""A component as an experiment names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.config import registry
from nas.config.plugins import NO_PLUGINS, Plugins


@dataclass(frozen=True)
class ComponentSpec:
    """A named implementation of something (a data set, a space, a searcher) and the arguments given to it.

    `plugins` is what was granted to whoever read the experiment, and no part of it: equal experiments may differ there.
    """

    name: str
    reference: str
    arguments: Mapping[str, Any]
    plugins: Plugins = field(default=NO_PLUGINS, compare=False, repr=False)

    def load(self) -> Callable[..., Any]:
        """Import what is named; raises InputError where it does not exist or was not granted."""
        return registry.load(self.reference, self.plugins)
