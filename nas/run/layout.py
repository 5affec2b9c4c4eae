"""What the files of a run are called and where they lie: each name stands here, or beside what makes the file, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.deploy import names

EXPERIMENT: Final = "experiment.yaml"
ENVIRONMENT: Final = "environment.json"
LOG: Final = "log.jsonl"
MEASUREMENTS: Final = "measurements.jsonl"
SUPERNET: Final = "supernet.safetensors"
SUPERNET_IMAGES: Final = "supernet_images.npz"
PLANS: Final = "plans.json"
TRIALS: Final = "trials.jsonl"
FRONT: Final = "front.json"
UNMET: Final = "unmet.json"
VERIFY: Final = "verify.json"
VERIFYING: Final = "verifying.json"
TEST: Final = "test.json"
REPORT: Final = "report.html"
ELSEWHERE: Final = "elsewhere.json"
LENGTHS: Final = "lengths.json"
OUTPUT: Final = "output.txt"
OPTIMISER: Final = "optimiser"

_LATENCY_MODEL: Final = "latency_model"
_WINNERS: Final = "winners"
_NOT_KEPT: Final = "not_kept"


@dataclass(frozen=True)
class WinnerFiles:
    """The files of one budget's winner, all below `root`."""

    root: Path

    @property
    def architecture(self) -> Path:
        """The choice: genome, network, and the trial that it was chosen by."""
        return self.root / "architecture.json"

    @property
    def plan(self) -> Path:
        """How many training steps fit into the time that was given, where one was."""
        return self.root / "plan.json"

    @property
    def checkpoint(self) -> Path:
        """The training under way; goes when it ends."""
        return self.root / "training.safetensors"

    @property
    def weights(self) -> Path:
        """The trained weights."""
        return self.root / "weights.safetensors"

    @property
    def scores(self) -> Path:
        """How sure and how right each exit is on validation images."""
        return self.root / "scores.npz"

    @property
    def model(self) -> Path:
        """The whole network as an ONNX model."""
        return self.root / names.MODEL

    @property
    def manifest(self) -> Path:
        """What was exported, with hashes."""
        return self.root / names.MANIFEST

    @property
    def thresholds(self) -> Path:
        """When to leave at each early exit."""
        return self.root / names.THRESHOLDS

    @property
    def verdict(self) -> Path:
        """What was measured of a network that did not keep its budget, once another was chosen."""
        return self.root / "verdict.json"


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, all below `root`."""

    root: Path

    @property
    def experiment(self) -> Path:
        """The experiment, every default spelled out."""
        return self.root / EXPERIMENT

    @property
    def environment(self) -> Path:
        """Versions, machine, splits and device profiles."""
        return self.root / ENVIRONMENT

    @property
    def log(self) -> Path:
        """When stages began and ended, and notes."""
        return self.root / LOG

    @property
    def measurements(self) -> Path:
        """The log of what was measured."""
        return self.root / MEASUREMENTS

    def latency_model(self, target: str | None = None) -> Path:
        """The latency model of a target, by its key; None: the experiment's own."""
        name = _LATENCY_MODEL if target is None else f"{_LATENCY_MODEL}-{target}"
        return self.root / f"{name}.npz"

    @property
    def supernet(self) -> Path:
        """Shared weights: checkpoint, and in the end the result."""
        return self.root / SUPERNET

    @property
    def supernet_images(self) -> Path:
        """Which images the shared weights were trained on."""
        return self.root / SUPERNET_IMAGES

    @property
    def plans(self) -> Path:
        """How many steps of training the shared weights fit into the time that was given, where one was."""
        return self.root / PLANS

    def optimiser(self, budget: str) -> Path:
        """What the optimiser found for a budget."""
        return self.root / OPTIMISER / f"{budget}.json"

    def optimiser_checkpoint(self, budget: str) -> Path:
        """The optimiser's search for a budget while it is under way."""
        return self.root / OPTIMISER / f"{budget}.state.npz"

    @property
    def trials(self) -> Path:
        """The log of the networks that were judged."""
        return self.root / TRIALS

    @property
    def front(self) -> Path:
        """The Pareto set, and each budget's candidates."""
        return self.root / FRONT

    @property
    def unmet(self) -> Path:
        """Why budgets have no winner; written once the winners are chosen."""
        return self.root / UNMET

    @property
    def unmet_of_old(self) -> Path:
        """Where the first release wrote that, until a budget's folder could bear the same name."""
        return self.root / _WINNERS / UNMET

    def winner(self, budget: str) -> WinnerFiles:
        """Everything about a budget's winner."""
        return WinnerFiles(self.root / _WINNERS / budget)

    def not_kept(self, budget: str, key: str) -> WinnerFiles:
        """Everything about a network that was trained for a budget and did not keep it."""
        return WinnerFiles(self.root / _NOT_KEPT / budget / key[:16])

    def all_not_kept(self) -> list[WinnerFiles]:
        """Those that there are, by budget."""
        return [WinnerFiles(path.parent) for path in sorted(self.root.glob(f"{_NOT_KEPT}/*/*/architecture.json"))]

    @property
    def verify(self) -> Path:
        """What was measured of the exported winners."""
        return self.root / VERIFY

    @property
    def verifying(self) -> Path:
        """What was read of winners and is not judged yet; goes when it is."""
        return self.root / VERIFYING

    @property
    def test(self) -> Path:
        """What the test images said, and whether the budgets are kept."""
        return self.root / TEST

    @property
    def elsewhere(self) -> Path:
        """What the winners took on devices that the budgets do not name."""
        return self.root / ELSEWHERE

    @property
    def lengths(self) -> Path:
        """How many lines each log had when a stage ended."""
        return self.root / LENGTHS

    @property
    def output(self) -> Path:
        """What a run that somebody else began said: the cell of a sweep."""
        return self.root / OUTPUT

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / REPORT
