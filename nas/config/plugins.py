"""Whose code an experiment may run: ours, and modules that the person at the command line or an installation named.

An experiment, or a run's folder, is plain data that may come from anybody. What it names as `module:name` is imported
only if the module was granted here; that a run records its grant gives the next command nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from nas.errors import InputError

#: An installed package grants a module of its own by an entry point in this group that names it.
GROUP: Final = "hwnas.plugins"
_OURS: Final = frozenset({"hardware_profiles", "latency_models", "nas", "search_spaces"})


@dataclass(frozen=True)
class Plugins:
    """Top-level modules that may be imported: those `named` by a person, and those of `installed` entry points."""

    named: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """All of them, as a run records them."""
        return tuple(sorted({*self.named, *self.installed}))

    def admit(self, reference: str) -> None:
        """Let a `module:name` be imported, from the working directory if a person named it; else raise InputError."""
        top = _top(reference)
        if top in _OURS:
            return
        if top not in self.modules:
            raise InputError(
                f"{reference!r} is code of the module {top!r}, which nobody allowed to run: if you trust it, "
                f"add --plugins {top}"
            )
        if top in self.named:
            _HERE.admit(top)


class _Here(MetaPathFinder):
    """Finds granted top-level modules in the working directory, and nothing else that lies there.

    Last of all finders, so that a file there never stands in for a package that is installed.
    """

    def __init__(self) -> None:
        self._admitted: set[str] = set()

    def admit(self, top: str) -> None:
        """Let one more module be found."""
        self._admitted.add(top)
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What importlib asks; modules of packages are found by their package."""
        if path is not None or fullname not in self._admitted:
            return None
        return PathFinder.find_spec(fullname, [str(Path.cwd())], target)


_HERE: Final = _Here()
#: What reading an experiment grants unless more is asked for.
NO_PLUGINS: Final = Plugins()


def granted(texts: Iterable[str] = ()) -> Plugins:
    """The modules in texts such as "mine,yours.spaces", and those of installed entry points, none of them imported.

    Raises InputError for a text that is no name of a module.
    """
    named = [name.strip() for text in texts for name in text.split(",")]
    for name in named:
        if not all(part.isidentifier() for part in name.split(".")):
            raise InputError(f"--plugins: {name!r} is not the name of a module; write for example --plugins my_module")
    installed = {_top(point.value.strip()) for point in metadata.entry_points(group=GROUP)}
    return Plugins(tuple(sorted(set(map(_top, named)))), tuple(sorted(installed)))


def _top(reference: str) -> str:
    """The top-level module of a module's name, or of a `module:name`."""
    return reference.partition(":")[0].partition(".")[0]
