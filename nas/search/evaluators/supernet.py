"""Networks judged with a supernet's shared weights, without training them.

Batch-norm statistics differ from network to network, so they are measured anew on training images before each one is
judged (Yu & Huang 2019, arXiv 1903.05134; SPOS, arXiv 1904.00420).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn import backend
from nas.nn.programs import Program
from nas.supernet.elastic import Supernet
from search_spaces.slots import Genomes, SearchSpace

#: Images per call of the compiled program: more does not run faster, and the memory grows with it.
_CHUNK: Final = 256
#: How much memory the logits of networks that were judged before may take.
KEEP_BYTES: Final = 256 * 2**20


def _as_it_is(images: NDArray[Any]) -> NDArray[np.float32]:
    return images


class SupernetEvaluator:
    """Logits of a space's networks on validation images, by shared weights.

    `params` are the trained parameters by weight name; `calibration` [m, C, H, W] are training images without
    augmentation, as network inputs; `images` [n, ...] the validation images, which `prepare` turns into network inputs
    a chunk at a time, so that large ones need not be in memory as floats. The logits of the last networks are kept, as
    many as `keep_bytes` hold: genomes that differ in their exits alone cost nothing.
    """

    def __init__(
        self,
        space: SearchSpace,
        params: Mapping[str, NDArray[np.float32]],
        calibration: NDArray[np.float32],
        images: NDArray[Any],
        prepare: Callable[[NDArray[Any]], NDArray[np.float32]] = _as_it_is,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        backend.prepare()
        self.supernet = Supernet(space)
        self._params = {name: jnp.asarray(value) for name, value in params.items()}
        self._calibration = jnp.asarray(calibration)
        self._chunk = min(_CHUNK, len(images))
        self._images, self._prepare = images, prepare
        self._keep_bytes, self._kept_bytes = keep_bytes, 0
        self._cache: dict[bytes, NDArray[np.float32]] = {}
        self._calibrate = Program(self._statistics)
        self._evaluate = Program(self._answers)

    def _statistics(self, params: dict[str, Array], images: Array, combination: Array) -> dict[str, Array]:
        return self.supernet.forward(params, {}, images, combination, "calibrate")[1]

    def _answers(self, params: dict[str, Array], stats: dict[str, Array], images: Array, combination: Array) -> Array:
        return self.supernet.forward(params, stats, images, combination, "eval")[0]

    def logits(self, genomes: Genomes) -> NDArray[np.float32]:
        """Logits [genomes, images, positions, classes] of genomes [n, genes]; NaN where no exit is possible.

        Positions are those of `slots.exit_positions`. Exits that a genome turns off answer as well.
        """
        choices = self.supernet.choices(genomes)
        results = []
        for combination, legal in zip(choices.combination, choices.legal, strict=True):
            key = combination.tobytes()
            answers = self._cache.pop(key, None)
            if answers is None:
                answers = self._logits(combination)
                answers[:, ~legal] = np.nan
                self._kept_bytes += answers.nbytes
            self._cache[key] = answers
            while self._kept_bytes > self._keep_bytes and len(self._cache) > 1:
                self._kept_bytes -= self._cache.pop(next(iter(self._cache))).nbytes
            results.append(answers)
        return np.stack(results)

    def _logits(self, combination: NDArray[np.int32]) -> NDArray[np.float32]:
        stats = self._calibrate(self._params, self._calibration, combination)
        parts = []
        for begin in range(0, len(self._images), self._chunk):
            chunk = self._prepare(self._images[begin : begin + self._chunk])
            count = len(chunk)
            # The last chunk is filled up, so that all have one shape and one program.
            chunk = np.concatenate([chunk, np.zeros((self._chunk - count, *chunk.shape[1:]), np.float32)])
            part = np.asarray(self._evaluate(self._params, stats, chunk, combination))
            parts.append(np.moveaxis(part, 0, 1)[:count])
        return np.concatenate(parts)
