"""Networks judged with a supernet's shared weights, without training them.

Batch-norm statistics differ from network to network, so they are measured anew on training images before each one is
judged (Yu & Huang 2019, arXiv 1903.05134; SPOS, arXiv 1904.00420).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from search_spaces.slots import Genomes, SearchSpace

from ..supernet import backend
from ..supernet.elastic import Supernet

#: Images per call of the compiled program: more does not run faster, and the memory grows with it.
_CHUNK = 256


class SupernetEvaluator:
    """Logits of a space's networks on validation images, by shared weights.

    `params` are the trained parameters by weight name; `calibration` [m, C, H, W] are training images without
    augmentation, `images` [n, C, H, W] the validation images, both as network inputs. The last `keep` networks'
    logits are kept: genomes that differ in their exits alone cost nothing.
    """

    def __init__(
        self,
        space: SearchSpace,
        params: Mapping[str, NDArray[np.float32]],
        calibration: NDArray[np.float32],
        images: NDArray[np.float32],
        keep: int = 256,
    ) -> None:
        backend.prepare()
        self.supernet = Supernet(space)
        self._params = {name: jnp.asarray(value) for name, value in params.items()}
        self._calibration = jnp.asarray(calibration)
        self._chunk = min(_CHUNK, len(images))
        # The last chunk is filled up, so that all have one shape and one program.
        padding = -len(images) % self._chunk
        padded = np.concatenate([images, np.zeros((padding, *images.shape[1:]), np.float32)])
        self._images = [jnp.asarray(part) for part in np.split(padded, len(padded) // self._chunk)]
        self._count = len(images)
        self._keep = keep
        self._cache: dict[bytes, NDArray[np.float32]] = {}
        self._calibrate = jax.jit(self._statistics)
        self._evaluate = jax.jit(self._answers)

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
                answers = self._judge(combination)
                answers[:, ~legal] = np.nan
            self._cache[key] = answers
            if len(self._cache) > self._keep:
                del self._cache[next(iter(self._cache))]
            results.append(answers)
        return np.stack(results)

    def _judge(self, combination: NDArray[np.int32]) -> NDArray[np.float32]:
        stats = self._calibrate(self._params, self._calibration, combination)
        parts = [self._evaluate(self._params, stats, images, combination) for images in self._images]
        return np.concatenate([np.moveaxis(np.asarray(part), 0, 1) for part in parts])[: self._count]
