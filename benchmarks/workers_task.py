"""What `workers.py` has its workers do: a module of its own, which other processes can import."""

from __future__ import annotations

import time

from nas.run.trial import Trial
from nas.search.evaluation import Asked, Judge


class Timed(Judge):
    """Judges as a search does, and tells the seconds of processors that it took, of all threads."""

    def __call__(self, asked: Asked) -> tuple[Trial, float]:  # type: ignore[override]  # it tells more than the trial
        begin = time.process_time()
        return super().__call__(asked), time.process_time() - begin
