"""Turning a name from YAML into a class or function: ours from a dict literal, the user's as `module:name`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from nas.config.plugins import NO_PLUGINS, Plugins
from nas.errors import InputError


def nearest(word: str, choices: Collection[str]) -> str:
    """The end of a sentence: `; did you mean …?` for the nearest of `choices`, or a full stop when none is near."""
    near = difflib.get_close_matches(word, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def resolve(name: str, registry: Mapping[str, str], what: str) -> str:
    """The `module:name` reference that `name` stands for; a reference stands for itself.

    Raises InputError for a name that is neither, naming the nearest.
    """
    if name in registry:
        return registry[name]
    if is_reference(name):
        return name
    known = sorted(registry)
    raise InputError(
        f"there is no {what} {name!r}{nearest(name, known)} Known: {', '.join(known)}; "
        f"your own is named as `module:name`"
    )


def is_reference(name: str) -> bool:
    """Whether a text has the form `module:name`."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()


def load(reference: str, plugins: Plugins = NO_PLUGINS) -> Callable[..., Any]:
    """Import what a `module:name` reference names, if it is ours or among `plugins`.

    Raises InputError where it is neither, before anything is imported, and where the module or the name does not exist.
    """
    module_name, _, attribute = reference.partition(":")
    plugins.admit(reference)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{reference!r}: there is no module {error.name!r} on the path, and of those in {Path.cwd()} only modules "
            "that --plugins names are looked for"
        ) from error
    except ImportError as error:
        raise InputError(f"{reference!r}: {error}") from error
    except SyntaxError as error:
        raise InputError(f"{reference!r}: {error.filename}, line {error.lineno}: {error.msg}") from error
    found: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(found):
        names = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        near = nearest(attribute, names)
        raise InputError(f"{reference!r}: module {module_name!r} has no callable {attribute!r}{near}")
    return found
