"""The command line: `nas run experiment.yaml`, one command per stage, and questions about this machine.

Exit codes: 0 every budget kept; 2 malformed input, nothing written; 3 a budget was not kept or nothing fits;
4 interrupted, resumable. Only argparse is imported here, so that `nas --help` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from nas.process.heap import keep_heap

OK, MALFORMED, NOT_KEPT, INTERRUPTED = 0, 2, 3, 4

_STAGES = {
    "train": "choose the winners by measuring candidates, and train them",
    "export": "write the winners as ONNX and TVM artefacts",
    "verify": "run the artefacts: numbers, latency, accuracy",
    "report": "write the report page",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nas",
        description="Hardware-aware neural architecture search: name a device and a budget, "
        "get networks that keep it, measured.",
        epilog="exit codes: 0 every budget kept; 2 malformed input; 3 a budget was not kept or nothing fits; "
        "4 interrupted, go on with --resume",
    )
    from nas import __version__

    parser.add_argument("--version", action="version", version=f"hwnas {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("run", "do everything: calibrate, train the supernet, search, train winners, export, verify, report"),
        ("search", "only calibrate, train the supernet and search"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("experiment", metavar="EXPERIMENT.yaml", help="the experiment file")
        command.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME)")
        command.add_argument("--resume", action="store_true", help="go on with the run that is in the folder, if any")
        command.add_argument("--seed", type=int, help="replaces the experiment's seed")
        command.add_argument(
            "--set", metavar="KEY=VALUE", action="append", default=[], help="replace a key, such as supernet.epochs=5"
        )
    for name, text in _STAGES.items():
        command = commands.add_parser(name, help=text, description=f"In an existing run: {text}.")
        command.add_argument("run", metavar="RUN", help="the run folder")
    devices = commands.add_parser("devices", help="list device profiles, or show one with its sources")
    devices.add_argument("name", nargs="?", metavar="NAME", help="id, alias or file of a profile; host is this machine")
    commands.add_parser("doctor", help="say which backends, targets, compilers and optional parts work here")
    _profile(commands.add_parser("profile", help="measure this machine: a device profile, its calibration, a table"))
    _latency(commands.add_parser("latency", help="few-shot latency: learn from devices of a table, judge on others"))
    check = commands.add_parser("check", help="check an experiment file, or a search space `module:name`, for mistakes")
    check.add_argument("subject", metavar="EXPERIMENT.yaml|MODULE:SPACE")
    return parser


def _profile(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Measure a few networks on this machine and write a device profile with its calibration. "
        "Interrupted or killed: the same command goes on with what is missing."
    )
    command.add_argument("name", metavar="NAME", help="what the device will be called: a-z, 0-9, _")
    command.add_argument("--runner", required=True, choices=("onnxruntime", "tvm"), help="what runs the networks")
    command.add_argument("--networks", type=int, default=10, metavar="N", help="networks to measure (default: 10)")
    command.add_argument(
        "--space", default="mobile", metavar="SPACE", help="search space they are of (default: mobile)"
    )
    command.add_argument("--table", metavar="HxW", help="table of the space mobile (default: that of the input)")
    command.add_argument("--input", metavar="CxHxW", help="input of the networks (default: 1x28x28, or as the table)")
    command.add_argument("--classes", type=int, default=10, metavar="N", help="classes (default: 10)")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="threads within an operator (default: 1)")
    command.add_argument("--batch", type=int, default=1, metavar="N", help="samples per call (default: 1)")
    command.add_argument("--power-mode", metavar="LABEL", help="a label of your own, such as 15W, for the target")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="which networks are drawn (default: 0)")
    command.add_argument(
        "--out", default="hardware_profiles", metavar="DIR", help="folder (default: hardware_profiles)"
    )


def _latency(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("fit", "learn a prior from the source devices of a table"),
        ("eval", "learn from source devices, take a few readings of target devices, judge the rest"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("table", metavar="TABLE.npz", help="latency_ms [n, devices], devices, ops [n, positions]")
        action.add_argument(
            "--pool", type=int, metavar="N", help="learn from the first N networks alone (default: 900)"
        )
        if name == "fit":
            action.add_argument("--sources", required=True, metavar="A,B", help="devices to learn from")
            action.add_argument("--out", required=True, metavar="PRIOR.npz", help="where to write the prior")
            continue
        given = action.add_mutually_exclusive_group(required=True)
        given.add_argument("--sources", metavar="A,B", help="devices of the table to learn from")
        given.add_argument("--prior", metavar="PRIOR.npz", help="what `nas latency fit` wrote, instead of sources")
        action.add_argument("--targets", required=True, metavar="C,D", help="devices to judge on")
        action.add_argument("--samples", type=int, default=10, metavar="K", help="readings of a target (default: 10)")
        action.add_argument("--seeds", type=int, default=5, metavar="N", help="draws of the readings (default: 5)")
        action.add_argument("--json", metavar="OUT", help="write the figures there")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors of the user's input are one line on standard error."""
    args = _parser().parse_args(arguments)
    keep_heap()
    from nas import commands
    from nas.errors import NothingFits
    from nas.process import interrupt

    handlers: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": commands.run,
        "search": commands.search,
        **dict.fromkeys(_STAGES, commands.stage),
        "devices": commands.devices,
        "doctor": commands.doctor,
        "profile": commands.profile,
        "latency": commands.latency,
        "check": commands.check,
    }
    try:
        return handlers[args.command](args)
    except commands.user_errors() as error:
        print("nas: error:", " ".join(str(error).splitlines()), file=sys.stderr)  # noqa: T201
        return MALFORMED
    except OSError as error:
        print(f"nas: error: {error}; nothing that was written is lost", file=sys.stderr)  # noqa: T201
        return MALFORMED
    except NothingFits as error:
        print(f"nas: {error.statement}", file=sys.stderr)  # noqa: T201
        return NOT_KEPT
    except KeyboardInterrupt:
        print(interrupt.MESSAGE, file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def process() -> NoReturn:
    """What the `nas` script calls: `main`, and then leave without tearing down what was loaded.

    XLA may still be computing on threads of its own when a run is interrupted, and the end of the interpreter then
    crashes: the exit code would be that of a crash.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a reader that went away
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    process()
