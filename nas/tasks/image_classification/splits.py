"""Which image is for what: disjoint, stratified, hashed parts of the training data, fixed by the seed.

An image's place follows from the seed and its own pixels, not from its position in the file. Images with identical
pixels go to the same part, and training images that also stand in the test part are left out. All parts are cut in one
order, and what nobody reads is given to training afterwards: that changes no other part.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.tasks.image_classification.dataset import Labels, RawData
from nas.tasks.image_classification.fractions import OptionalPart, SplitFractions
from nas.tasks.image_classification.source import Digests, Indices, Source, image_digests, kept

Part: TypeAlias = Literal["train", "arch", "val", "cert", "test"]
#: The first 64 bits of an image's SHA-256: of a million images, two have the same with a probability below 1e-7.
Fingerprints: TypeAlias = npt.NDArray[np.uint64]

#: Thresholds are judged on a share of the part by the rest of it.
LEAST_VAL: Final = 2
OPTIONAL: Final[tuple[OptionalPart, ...]] = ("cert", "arch")


@dataclass(frozen=True, eq=False)
class Splits:
    """Ascending positions: `train`, `arch`, `val`, `cert` in the training part, `test` in the test part.

    `hashes[part]` is the SHA-256 of the part's positions, pixels and labels. `left_out` counts training images
    that are identical to a test image. `fingerprints[part]` are those of its images, [n].
    """

    train: Indices
    arch: Indices
    val: Indices
    cert: Indices
    test: Indices
    hashes: Mapping[Part, str]
    left_out: int
    fingerprints: Mapping[Part, Fingerprints]

    def record(self) -> dict[str, Any]:
        """Sizes and hashes for environment.json."""
        parts: dict[Part, Indices] = {
            "train": self.train, "arch": self.arch, "val": self.val, "cert": self.cert, "test": self.test
        }  # fmt: skip
        described: dict[str, Any] = {
            part: {"images": len(indices), "sha256": self.hashes[part]} for part, indices in parts.items()
        }
        return {**described, "left_out": self.left_out}


def make_splits(
    raw: RawData, seed: int, fractions: SplitFractions | None = None, aside: Collection[OptionalPart] = OPTIONAL
) -> Splits:
    """The splits of `raw` for the run seed `seed`; `fractions` default to the rules in `SplitFractions`.

    Optional parts that are not in `aside` are cut as the others are, and then join the training images. Raises
    InputError when a part that is wanted would be empty or a class has nothing left to train on.
    """
    fractions = fractions or SplitFractions()
    digests, test_digests = image_digests(raw.train_x), image_digests(raw.test_x)
    pool = np.flatnonzero(~np.isin(digests, test_digests))
    left_out = len(digests) - len(pool)
    counts = fractions.counts(len(pool))
    parts: list[Part] = [*counts, "train"]
    chosen = _distribute(digests[pool], raw.train_y[pool], list(counts.values()), f"splits {seed}")
    indices = {part: pool[positions] for part, positions in zip(parts, chosen, strict=True)}
    for part in OPTIONAL:
        if part not in aside:
            indices["train"] = np.sort(np.concatenate((indices["train"], indices[part])))
            indices[part] = indices[part][:0]
    _check_splits(raw, indices, fractions, aside, left_out)
    hashes: dict[Part, str] = {part: _hash(digests, raw.train_y, place) for part, place in indices.items()}
    test = np.arange(len(raw.test_x))
    hashes["test"] = _hash(test_digests, raw.test_y, test)
    fingerprints: dict[Part, Fingerprints] = {part: _fingerprints(digests[place]) for part, place in indices.items()}
    return Splits(
        train=indices["train"],
        arch=indices["arch"],
        val=indices["val"],
        cert=indices["cert"],
        test=test,
        hashes=hashes,
        left_out=left_out,
        fingerprints={**fingerprints, "test": _fingerprints(test_digests)},
    )


def split_off_test(x: Source, y: Labels, share: float = 0.2) -> tuple[Source, Labels, Source, Labels]:
    """(train_x, train_y, test_x, test_y) for a source without a test part.

    The same for every run seed, so that results of different seeds are comparable; stratified, identical images
    together.
    """
    digests = image_digests(x)
    test, train = _distribute(digests, y, [round(share * len(y))], "test")
    if not len(test):
        raise InputError(
            f"{len(y)} images, {len(np.unique(digests))} of them different, are too few to split off a test part; "
            "add images or a test part"
        )
    return kept(x, train), y[train], kept(x, test), y[test]


def limit_training(x: Source, y: Labels, limit: int | None, where: str) -> tuple[Source, Labels]:
    """`limit` training images, the same share of every class and the same images in every run; None is all."""
    classes = len(np.unique(y))
    if limit is None:
        return x, y
    if not classes <= limit <= len(y):
        raise InputError(f"{where}: limit {limit}; it must be from {classes} (one per class) to {len(y)} images")
    _, chosen = _distribute(image_digests(x), y, [len(y) - limit], "limit")
    return kept(x, chosen), y[chosen]


def _distribute(digests: Digests, y: Labels, counts: Sequence[int], salt: str) -> list[Indices]:
    """Ascending positions for every part in `counts`, and last those that remain.

    Groups of identical images are walked in the order of their salted hash, class by class, and fill one part after
    the other. A part holds its count exactly unless groups of several images straddle its edge.
    """
    unique, group, size = np.unique(digests, return_inverse=True, return_counts=True)
    # Identical images with different labels: the smallest label decides, which does not depend on their order.
    label = np.full(len(unique), np.iinfo(np.int32).max, np.int32)
    np.minimum.at(label, group, y)
    prefix = salt.encode() + b"\0"
    order = np.array([hashlib.sha256(prefix + digest.ljust(32, b"\0")).digest() for digest in unique.tolist()], "S32")
    members_in = np.unique(label, return_inverse=True)[1]
    images = np.bincount(members_in, weights=size).astype(np.int64)
    part = np.empty(len(unique), np.int64)
    for place, share in enumerate(_shares(images, np.array(counts, np.int64))):
        members = np.flatnonzero(members_in == place)
        members = members[np.argsort(order[members])]
        start = np.cumsum(size[members]) - size[members]
        part[members] = np.searchsorted(np.cumsum(share), start, side="right")
        # A large group may have swallowed what was meant to remain.
        part[members[-1]] = len(counts)
    return [np.flatnonzero(part[group] == place) for place in range(len(counts) + 1)]


def _shares(images: Indices, counts: Indices) -> Indices:
    """How many images of each class a part takes [classes, parts], by largest remainders.

    Sums over classes are `counts`, as far as every class keeps an image that no part takes.
    """
    exact = np.outer(images, counts) / max(int(images.sum()), 1)
    shares = np.floor(exact).astype(np.int64)
    for part, count in enumerate(counts):
        missing, free = int(count - shares[:, part].sum()), True
        while missing and free:
            free = False
            for place in np.argsort(shares[:, part] - exact[:, part], kind="stable"):
                if missing and shares[place].sum() < images[place] - 1:
                    shares[place, part] += 1
                    missing, free = missing - 1, True
    return shares


def _hash(digests: Digests, y: Labels, indices: Indices) -> str:
    content = hashlib.sha256(indices.astype("<i8").tobytes())
    content.update(digests[indices].tobytes())
    content.update(y[indices].astype("<i4").tobytes())
    return content.hexdigest()


def _fingerprints(digests: Digests) -> Fingerprints:
    return np.frombuffer(digests.tobytes(), ">u8").reshape(len(digests), 4)[:, 0].astype(np.uint64)


def _check_splits(
    raw: RawData,
    indices: Mapping[Part, Indices],
    fractions: SplitFractions,
    aside: Collection[OptionalPart],
    left_out: int,
) -> None:
    shares: dict[Part, float | None] = {"val": fractions.val, "cert": fractions.cert, "arch": fractions.arch}
    for part, share in shares.items():
        least = LEAST_VAL if part == "val" else 1 if share != 0 and part in aside else 0
        if len(indices[part]) < least:
            otherwise = "" if part == "val" else ", or 0 if nothing needs it"
            raise InputError(
                f"{raw.name}: {len(raw.train_y)} training images ({left_out} of them also in the test part) are too "
                f"few for the part {part!r}, which needs {least} and gets {len(indices[part])}; add images, or give "
                f"splits a larger {part}{otherwise}"
            )
    lost = np.setdiff1d(np.arange(len(raw.class_names)), raw.train_y[indices["train"]])
    if lost.size:
        raise InputError(
            f"{raw.name}: class {raw.class_names[lost[0]]!r} has no image left to train on ({left_out} training images "
            "are also in the test part); add images of it"
        )
