"""Seeds that depend on what they are for and never on the order of calls."""

import hashlib
import json
import operator


def derive_seed(run_seed: int, *path: str | int) -> int:
    """Return the seed of the thing named by `path` in the run with seed `run_seed`, in [0, 2^63).

    The first eight bytes of the SHA-256 of the JSON list `[run_seed, *path]`, so `("a", "b")` and `("ab",)`
    differ, and so do `1` and `"1"`. JAX without 64-bit mode keeps the lower 32 bits, which are as uniform as the rest.
    Raises TypeError for a part that is neither a string nor an integer.
    """
    parts = [operator.index(run_seed), *(part if isinstance(part, str) else operator.index(part) for part in path)]
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
