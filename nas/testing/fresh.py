"""A process that has imported nothing: `python -m nas.testing.fresh MODULE CLASS FILE OUT` loads a latency model.

It writes the seconds that the model predicts of the reference networks, with nothing imported before the model's own
module.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np


def main(module: str, name: str, file: str, out: str) -> None:
    """Load the class `name` of a module, the model in `file`, and write its segments' seconds to `out` as npy."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    model = found.load(file)
    from nas.testing.small import networks

    np.save(out, model.predict(networks()).segment_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
