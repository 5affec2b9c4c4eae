"""Where code that is not ours runs, and what it raises becomes one error of the user's to mend."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from nas.errors import InputError

_LIBRARIES: Final = "site-packages"


class Boundary:
    """A context in which code that is not ours runs; its exceptions become one InputError that begins with `what`.

    The one place where any exception is caught: it is the answer, with its type, its text and the line that raised it.
    Those of the types in `told` say all there is to say by their text. What asks a program to stop passes.
    """

    def __init__(self, what: str, *told: type[Exception]) -> None:
        self._what, self._told = what, told

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._told):
            raise InputError(f"{self._what}: {error}") from error
        if isinstance(error, Exception):
            frames = traceback.extract_tb(trace)
            # What failed inside a library was called by somebody, who is told where.
            last = ([frame for frame in frames if _LIBRARIES not in frame.filename] or frames)[-1]
            raise InputError(
                f"{self._what}: it raised {type(error).__name__}: {error} (line {last.lineno} of {last.filename})"
            ) from error
