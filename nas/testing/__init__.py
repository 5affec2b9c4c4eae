"""The contracts of what an experiment names, from spaces to executors, as laws: for test suites and for `nas check`.

`nas.testing.space.LAWS` and its like are tuples of `Law`; `law(subject)` raises BrokenLaw where it does not hold:

    @pytest.mark.parametrize("law", nas.testing.searcher.LAWS, ids=str)
    def test_my_searcher(law): law(MySearcher)
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from nas.config.kinds import (
    EVALUATOR,
    EXECUTOR,
    EXIT_POLICY,
    LATENCY_MODEL,
    OPTIMISER,
    RUNNER,
    SEARCHER,
    SPACE,
    Kind,
)
from nas.errors import InputError
from nas.process.boundary import Boundary
from nas.testing.laws import BrokenLaw, Law

__all__ = ["KINDS", "BrokenLaw", "Law", "check", "kind_of", "kind_of_name", "laws_of"]


#: What can be checked, by the names that errors and experiments use.
KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind for kind in (SPACE, LATENCY_MODEL, RUNNER, EXIT_POLICY, SEARCHER, OPTIMISER, EVALUATOR, EXECUTOR)
}


def kind_of_name(name: str) -> str | None:
    """The kind of one of ours by its name; None where there is none."""
    return next((kind for kind, about in KINDS.items() if name in about.known), None)


def laws_of(kind: str) -> tuple[Law[Any], ...]:
    """The laws of a kind, a key of KINDS."""
    found: tuple[Law[Any], ...] = importlib.import_module(KINDS[kind].laws).LAWS
    return found


def kind_of(thing: Callable[..., Any], name: str) -> str:
    """The kind of what was loaded as `name`, by the parameters that the program supplies; raises InputError."""
    for kind, about in KINDS.items():
        if not about.given and all(callable(getattr(thing, method, None)) for method in about.methods):
            return kind
    try:
        takes = set(inspect.signature(thing).parameters)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: its parameters cannot be read ({error}); say what it is with --kind") from error
    given = {kind: set(about.given) for kind, about in KINDS.items() if about.given and takes >= set(about.given)}
    # What takes profile and target takes the target alone as well, and is not that.
    found = [kind for kind, its in given.items() if not any(its < others for others in given.values())]
    if len(found) != 1:
        wanted = "; ".join(
            f"{kind}: takes {' and '.join(about.given)}" if about.given else f"{kind}: has {', '.join(about.methods)}"
            for kind, about in KINDS.items()
        )
        raise InputError(
            f"{name} takes {', '.join(sorted(takes)) or 'nothing'}, which does not say what it is ({wanted}); say it "
            "with --kind"
        )
    return found[0]


def forget() -> None:
    """Remove what laws have left on disk, for processes that end without looking back."""
    if (evaluator := sys.modules.get(KINDS["evaluator"].laws)) is not None:
        evaluator.forget()


def check(kind: str, thing: Callable[..., Any], name: str, arguments: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The statement of each law of a `kind` (a key of KINDS) that holds for what was loaded as `name`.

    `arguments` are those of `thing` beside what the program supplies. Raises InputError at the first law that is
    broken, with what was seen and what to do; an exception in `thing` breaks the law that it was raised under.
    """
    made = partial(thing, **arguments) if arguments else thing
    with Boundary(f"{name} cannot be built"):
        subject, about = importlib.import_module(KINDS[kind].laws).subject(made)
    if about:
        yield f"{name}: {about}"
    for law in laws_of(kind):
        with Boundary(f"{name} breaks the law {law.name} ({law.statement})", BrokenLaw):
            law(subject)
        yield law.statement
