"""How each command that the documents show is run: where, with what, and what must come of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Whole experiments take minutes to hours: the fast suite has them carried out with these changes, made by the
#: command `nas` that it puts on the path. The slow suite carries out the quickstart without them.
REDUCED = " ".join(
    f"--set {change}"
    for change in (
        *("space=toy", "supernet.epochs=1", "supernet.random_subnets=1", "calibration.networks=3"),
        *("search.evaluations=6", "search.images=60", "search.calibration_images=64", "winners.epochs=1"),
        *("winners.candidates=1", "verify.blocks=3", "verify.block_time=10ms", "verify.samples=30"),
        *("verify.parity_samples=32", "verify.tvm=false", "budgets.0.latency=1s", "budgets.1.latency=1s"),
    )
)
#: `pip install` without network: what the package needs is here already. (pip reads NO_BUILD_ISOLATION upside down.)
WITHOUT_NETWORK = {
    "PIP_NO_DEPS": "1",
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_TARGET": "site",
}
DRY_RUN = {"MAKEFLAGS": "n"}


@dataclass(frozen=True)
class Kind:
    """Commands that are run alike.

    `place` is the fixture of the folder they run in, `leaves` a file that is there afterwards. What has no place is not
    run: names and what has placeholders are given to the parser of `nas`, of others `left_out` says why.
    """

    pattern: str
    place: str = ""
    leaves: str = "."
    environment: Mapping[str, str] = field(default_factory=dict)
    name: bool = False
    placeholders: bool = False
    left_out: str = ""


KINDS = (
    # Questions that need nothing.
    Kind(r"nas (doctor|devices|devices raspi4|--help|profile --help)", "empty"),
    # The user's own experiment, board, table, modules, and a winner to be run.
    Kind(r"nas check door_camera\.yaml", "door_camera"),
    Kind(r"nas profile my_board.*", "profiled", leaves="hardware_profiles/my_board.yaml"),
    Kind(r"nas latency eval latency_models/.*", "checkout"),
    Kind(r"nas latency (eval|fit) table\.npz .*", "table"),
    Kind(r"nas (check bars\.yaml( --plugins \S+)?|devices my_board)", "extended"),
    Kind(r"nas check (plain:plain|climb:Climb|cross_entropy:CrossEntropy|traffic:Traffic)", "extended"),
    Kind(r"nas check (by_the_book:ByTheBook|top_two:TopTwo|pool:Pool|by_size:BySize)", "extended"),
    Kind(r"nas check mine:space", "mine"),
    Kind(r"python run\.py images\.npy", "winner"),
    # The quickstart, once and in this order: what comes later goes on with it.
    Kind(r"nas run experiments/quickstart\.yaml", "unused_checkout", leaves="runs/quickstart/report.html"),
    Kind(r"make demo", "checkout", leaves="runs/quickstart/report.html"),
    Kind(r"nas run experiments/quickstart\.yaml --out runs/tighter .*", "demo", leaves="runs/tighter/report.html"),
    # Sweeps.
    Kind(r"nas check experiments/sweep\.yaml", "checkout"),
    Kind(
        r"nas (sweep experiments/sweep\.yaml( --executor ray( --address auto)?)?|status runs/\S+|report runs/sweep)",
        left_out="after a sweep of minutes; test_sweep_command.py does so with short ones",
    ),
    Kind(r"optuna-dashboard runs/\S+", left_out="is a package of its own"),
    Kind(r"(export RAY_AUTH_MODE=|ray (up|start)|ssh nas@).*", left_out="needs a cluster"),
    # Installing and developing.
    Kind(r"pip install (\.|'\.\[(optuna|ray)\]')", "checkout", leaves="site/bin/nas", environment=WITHOUT_NETWORK),
    Kind(r"make (dev|check|test|test-slow)", "checkout", environment=DRY_RUN),
    # Names of commands, and commands with a placeholder.
    Kind(r"nas (run|search|sweep|status|train|export|verify|report|check|profile|latency|latency fit)", name=True),
    Kind(r"nas .*(…|\.\.\.|\b[A-Z]{4,}\b).*", placeholders=True),
    # Not run.
    Kind(r"nas run bars\.yaml --plugins \S+", left_out="test_docs_examples.py runs it, and looks at what it leaves"),
    Kind(r"python benchmarks/few_shot\.py --pool 60", left_out="takes minutes; benchmarks print numbers"),
    Kind(r"git clone … && cd hwnas", left_out="names no address"),
    Kind(r"python -m nas", left_out="shown as what not to call"),
    Kind(r"echo performance \| sudo tee \S+", left_out="changes the machine"),
    Kind(r"(nas devices (add|remove)|nas profile|nas verify RUN --device) (pi4|rpi4b).*", left_out="needs a board"),
    Kind(r"(sudo apt|python3 -m venv|sudo nvpmodel|sudo jetson_clocks).*", left_out="is given on a board"),
    Kind(r"(ssh pi@raspi true|adb shell|docker exec -i)", left_out="needs a board"),
    Kind(r"pip install( onnxruntime)?", left_out="is given on a board"),
    Kind(r"taskset -c 4-7 nas profile \.\.\.", left_out="needs cores that are not alike"),
)


def bare(command: str) -> str:
    """A command without the comment behind it."""
    return re.sub(r"\s+# .*", "", command).strip()


def kinds_of(command: str) -> list[Kind]:
    return [kind for kind in KINDS if re.fullmatch(kind.pattern, bare(command))]


def kind_of(command: str) -> Kind:
    (kind,) = kinds_of(command)
    return kind
