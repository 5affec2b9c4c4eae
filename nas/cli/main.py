"""The command line: `nas run experiment.yaml`, one command per stage, and questions about this machine."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence

from nas.cli import check, devices, latency, profile, runs, sweeps
from nas.cli.exit_codes import INTERRUPTED, MALFORMED, NOT_KEPT
from nas.errors import InputError, NothingFits, StoppedEarly
from nas.process import interrupt
from nas.process.release import VERSION

#: In the order of `nas --help`.
_FAMILIES = (runs, sweeps, devices, profile, latency, check)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it gives has `handler`, a function of it that returns an exit code."""
    whole = argparse.ArgumentParser(
        prog="nas",
        description="Hardware-aware neural architecture search: name a device and a budget, "
        "get networks that keep it, measured.",
        epilog="exit codes: 0 every budget kept; 2 malformed input; 3 a budget was not kept or nothing fits; "
        "4 interrupted, go on with --resume",
    )
    whole.add_argument("--version", action="version", version=f"hwnas {VERSION}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for family in _FAMILIES:
        family.add(commands)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors of the user's input are one line on standard error."""
    args = parser().parse_args(arguments)
    from nas.process.heap import keep_heap
    from nas.process.log import to_stderr

    keep_heap()
    to_stderr("nas.process")
    handler: Callable[[argparse.Namespace], int] = args.handler
    try:
        return handler(args)
    except _user_errors() as error:
        return _end(MALFORMED, f"nas: error: {' '.join(str(error).splitlines())}")
    except FileNotFoundError as error:
        return _end(MALFORMED, f"nas: error: {error}; it was removed while this ran, or is yet to be made")
    except OSError as error:
        return _end(MALFORMED, f"nas: error: {error}; nothing that was written is lost")
    except (NothingFits, StoppedEarly) as error:
        return _end(NOT_KEPT, f"nas: {error.statement}")
    except KeyboardInterrupt as stop:
        return _end(INTERRUPTED, str(stop) or interrupt.MESSAGE)


def _user_errors() -> tuple[type[Exception], ...]:
    """The errors that are the user's to mend: one line, exit code 2, no traceback."""
    from hardware_profiles import ProfileError
    from latency_models import UnpricedOperator
    from search_spaces.operators import ShapeError
    from search_spaces.slots import SpaceError

    return (InputError, ProfileError, ShapeError, SpaceError, UnpricedOperator)


def _end(code: int, statement: str) -> int:
    with contextlib.suppress(OSError):  # a reader that went away
        print(statement, file=sys.stderr)
    return code
