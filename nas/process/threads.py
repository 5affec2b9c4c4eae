"""How many threads does a process compute with? It is told by its environment, before it imports anything."""

from __future__ import annotations

from typing import Final

#: Libraries that count the cores of the machine are told how many are theirs.
BLAS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: The size of XLA's pools of threads. Sums are split among them, so that the last digits hang on it.
_XLA: Final = "PJRT_NPROC"


def limited_to(threads: int) -> dict[str, str]:
    """What stands in the environment of a process that computes with so many threads, whatever cores it may use."""
    return dict.fromkeys((*BLAS, _XLA), str(threads))
