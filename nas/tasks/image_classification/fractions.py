"""How much of the training data each part gets; free of numpy, because reading an experiment needs it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nas.errors import InputError

#: Thresholds and winners are chosen on val: 300 images give an accuracy of 90 % a standard error of 1.7 points,
#: 5,000 one of 0.4, where differences between candidates stop being the smaller number.
MIN_VAL, MAX_VAL = 300, 5_000

#: Parts that not every experiment reads.
OptionalPart: TypeAlias = Literal["cert", "arch"]


@dataclass(frozen=True)
class SplitFractions:
    """Shares of the training data; a share that is not given follows a rule, 0 leaves the part empty.

    The parts are cut in the order cert, val, arch. Then those of `OptionalPart` are given to training, unless they are
    read, have a share, or are named in `reserve`; the other parts hold the same images whether they are or not.

    val (selection, thresholds): a tenth, but 300 to 5,000 images and at most a quarter of the data.
    cert (certificates only): half of val. With no failure among n images the risk is below 3/n at 95 %, so 150 images
    can certify 2 % and 2,500 can certify 0.12 %; much less could certify nothing of use.
    arch (architecture parameters): a quarter of val; some hundred parameters are fitted, each shared by all images.
    """

    val: float | None = None
    cert: float | None = None
    arch: float | None = None
    reserve: tuple[OptionalPart, ...] = ()

    def __post_init__(self) -> None:
        given = {"val": self.val, "cert": self.cert, "arch": self.arch}
        for name, share in given.items():
            if share is not None and not 0 <= share < 1:
                raise InputError(f"splits: {name} is {share}; give a share of the training data from 0 to below 1")
        for part in self.reserve:
            if given[part] == 0:
                raise InputError(
                    f"splits: reserve keeps {part} aside and {part}: 0 leaves it empty; leave one of them out"
                )

    def aside(self, read: Collection[OptionalPart]) -> frozenset[OptionalPart]:
        """The optional parts that are kept from training where `read` are the ones that some stage reads."""
        shares: dict[OptionalPart, float | None] = {"cert": self.cert, "arch": self.arch}
        return frozenset(part for part, share in shares.items() if share or part in self.reserve or part in read)

    def counts(self, n: int) -> dict[Literal["cert", "val", "arch"], int]:
        """How many of n images are cut for cert, val and arch; the others are for training in any case.

        Raises InputError when the others are less than a tenth.
        """
        rule = min(max(n // 10, MIN_VAL), MAX_VAL, n // 4)
        val = rule if self.val is None else round(self.val * n)
        cert = val // 2 if self.cert is None else round(self.cert * n)
        arch = val // 4 if self.arch is None else round(self.arch * n)
        if cert + val + arch > 0.9 * n:
            raise InputError(
                f"splits: val {val}, cert {cert} and arch {arch} of {n} images leave less than a tenth for training; "
                "give smaller shares"
            )
        return {"cert": cert, "val": val, "arch": arch}
