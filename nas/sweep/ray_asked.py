"""Does a Ray cluster answer this machine, with the token that is set?

    python ray_asked.py ADDRESS

A program, which can be left alone: how long Ray tries cannot be said to it, and some answers end the process.
"""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """Ask; what is wrong is said on standard error, and the exit code is not 0 then."""
    import ray

    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
    ray.shutdown()


if __name__ == "__main__":
    main()
