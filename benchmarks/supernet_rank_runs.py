"""The supernets behind `supernet_rank.py`: one per seed, trained and judged, kept as they come to be."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.config.settings import SupernetSettings
from nas.process.files import append_jsonl, atomic_write_bytes, atomic_write_json, read_json, read_jsonl
from nas.seeds import derive_seed
from nas.tasks.image_classification.cifar import cifar10
from nas.tasks.image_classification.dataset import Augmentation, RawData
from nas.tasks.image_classification.fractions import SplitFractions
from nas.tasks.image_classification.prepared import Dataset, prepare
from nas.tasks.image_classification.source import Source
from search_spaces.nasbench201 import CellSpace, nasbench201

Floats = NDArray[np.float64]
#: Images are pooled by so much, and mirrored while training: networks as small as these underfit, and shifts and cutout
#: cost them eight points in the first two epochs.
POOLED = 2
AUGMENTATION = Augmentation(flip=True)
#: Checkpoints of a training, and networks judged before they are written down.
CHECKPOINTS, AT_ONCE = 40, 20


@dataclass(frozen=True)
class Settings:
    """What a supernet is made of, of `limit` images, and how it is judged: `networks` at random, on so many each."""

    channels: int
    cells: int
    epochs: int
    images: int
    calibration: int
    networks: int
    limit: int | None


class Clock:
    """CPU seconds of a seed's parts, those of earlier processes included."""

    def __init__(self, path: Path) -> None:
        self._path, self._since = path, time.process_time()

    def start(self) -> None:
        """What was computed before belongs to no part."""
        self._since = time.process_time()

    def book(self, part: str) -> None:
        """What was computed since the last booking belongs to this part."""
        now = time.process_time()
        append_jsonl(self._path, [{"part": part, "cpu_s": now - self._since}])
        self._since = now

    def spent_s(self, *parts: str) -> float:
        """CPU seconds of all of these parts together."""
        return float(sum(row["cpu_s"] for row in read_jsonl(self._path) if row["part"] in parts))


def pooled(images: Source) -> NDArray[np.uint8]:
    """Images [n, channels, height, width] of 8 bits with means of POOLED x POOLED pixels for pixels."""
    n, channels, height, width = images.shape
    cut = np.asarray(images[:]).reshape(n, channels, height // POOLED, POOLED, width // POOLED, POOLED)
    found: NDArray[np.uint8] = np.rint(cut.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8)
    return found


def load(data: Path, limit: int | None = None) -> RawData:
    """CIFAR-10 with smaller images, of which `limit` are those of its training part."""
    raw = cifar10(str(data), limit)
    return RawData(
        pooled(raw.train_x), raw.train_y, pooled(raw.test_x), raw.test_y, raw.class_names, raw.name,
        augmentation=AUGMENTATION,
    )  # fmt: skip


class Control:
    """One seed: its images, its supernet and what that says of networks, computed when asked for unless it is kept.

    `genomes` [n, edges] are the networks of the table. Test images are not looked at. Raises SystemExit where `folder`
    has results of other settings.
    """

    def __init__(self, folder: Path, data: Path, genomes: NDArray[np.int64], settings: Settings, seed: int) -> None:
        self.folder, self.genomes, self.settings, self.seed = folder / f"seed-{seed}", genomes, settings, seed
        self._data = data
        self.clock = Clock(self.folder / "spent.jsonl")
        kept, wanted = self.folder / "settings.json", {**asdict(settings), "recipe": asdict(SupernetSettings())}
        if not kept.exists():
            atomic_write_json(kept, wanted)
        if (other := read_json(kept, "remove its folder")) != wanted:
            raise SystemExit(f"{self.folder} has results of other settings, {other}; remove it, or take another --json")

    @cached_property
    def space(self) -> CellSpace:
        """The cell space, small enough to be trained here."""
        return nasbench201((3, 32 // POOLED, 32 // POOLED), 10, self.settings.channels, self.settings.cells)

    @cached_property
    def dataset(self) -> Dataset:
        """The images: four fifths to train on, a tenth for architecture, a tenth to judge by; split by the seed."""
        return prepare(
            load(self._data, self.settings.limit), self.seed, fractions=SplitFractions(val=0.1, cert=0.0, arch=0.1)
        )

    def training_set(self, part: Any, augment: bool) -> Any:
        """A part's images as a training loop reads them."""
        from nas.nn.batches import TrainingSet

        data = self.dataset
        augmentation = data.raw.augmentation if augment else Augmentation()
        return TrainingSet(data.raw_images(part), data.labels(part), data.preprocessing, augmentation)

    @cached_property
    def chosen(self) -> NDArray[np.int64]:
        """The rows of the table of the networks that are judged one by one, drawn at random."""
        rng = np.random.default_rng(derive_seed(self.seed, "networks"))
        return rng.choice(len(self.genomes), min(self.settings.networks, len(self.genomes)), replace=False)

    @cached_property
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The shared weights, trained by the product's default recipe, from the last checkpoint on."""
        from nas.nn.loop import Recipe
        from nas.supernet.training import shared_weights, supernet_trainer

        self.clock.start()
        path, product, data = self.folder / "supernet.safetensors", SupernetSettings(), self.training_set("train", True)
        steps = self.settings.epochs * (len(data) // product.batch_size)
        recipe = Recipe(
            steps, product.batch_size, product.learning_rate, weight_decay=product.weight_decay,
            label_smoothing=product.label_smoothing, final_rate=product.final_rate, averaging=product.averaging,
        )  # fmt: skip
        trainer = supernet_trainer(self.space, data, recipe, derive_seed(self.seed, "supernet"), product.random_subnets)
        state = trainer.load(path.read_bytes()) if path.exists() else trainer.start()

        def keep(reached: Any) -> None:
            # Seconds first: a kill between the two counts them twice, never not at all.
            self.clock.book("training")
            atomic_write_bytes(path, trainer.save(reached))
            print(f"seed {self.seed}: {reached.step} of {steps} steps", file=sys.stderr, flush=True)

        state = trainer.run(state, every=max(1, steps // CHECKPOINTS), checkpoint=keep)
        return dict(shared_weights(state))

    @cached_property
    def judged(self) -> dict[str, Floats]:
        """`accuracy` and `loss`, the mean cross-entropy, of the `chosen` networks [n] on images of val."""
        path = self.folder / "judged.jsonl"
        known = {row["network"]: row for row in read_jsonl(path)}
        missing = [row for row in self.chosen.tolist() if row not in known]
        if missing:
            judge = self._judge()
            for begin in range(0, len(missing), AT_ONCE):
                rows = missing[begin : begin + AT_ONCE]
                found = [
                    {"network": row, "accuracy": accuracy, "loss": loss}
                    for row, (accuracy, loss) in zip(rows, map(judge, self.genomes[rows]), strict=True)
                ]
                append_jsonl(path, found)
                self.clock.book("judging")
                known.update((one["network"], one) for one in found)
            print(f"seed {self.seed}: {len(known)} networks judged", file=sys.stderr, flush=True)
        rows = [known[row] for row in self.chosen.tolist()]
        return {name: np.array([row[name] for row in rows], np.float64) for name in ("accuracy", "loss")}

    def _judge(self) -> Callable[[NDArray[np.int64]], tuple[float, float]]:
        """What gives accuracy and cross-entropy of a genome [edges]."""
        from scipy.special import log_softmax

        from nas.search.evaluators.supernet import SupernetEvaluator

        weights = self.weights
        self.clock.start()
        train, val = self.training_set("train", False), self.dataset.raw_images("val")
        calibration = train.sample(self.settings.calibration, derive_seed(self.seed, "batch-norm"))
        images = np.random.default_rng(derive_seed(self.seed, "images")).permutation(len(val))[: self.settings.images]
        labels = self.dataset.labels("val")[images]
        evaluator = SupernetEvaluator(
            self.space, weights, train.prepared(calibration), val[images], self.dataset.preprocessing.apply
        )

        def judge(genome: NDArray[np.int64]) -> tuple[float, float]:
            logs = log_softmax(evaluator.logits(genome[None])[0, :, -1].astype(np.float64), axis=-1)
            right = logs.argmax(axis=-1) == labels
            return float(right.mean()), float(-logs[np.arange(len(labels)), labels].mean())

        return judge
