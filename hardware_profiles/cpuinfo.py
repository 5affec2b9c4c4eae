"""What Linux says of the processors."""

from __future__ import annotations

from pathlib import Path


def lines() -> list[str]:
    """The lines of /proc/cpuinfo, `key : value` with an empty one after each processor; none on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def first() -> dict[str, str]:
    """What the first processor's lines say; empty on other systems."""
    found: dict[str, str] = {}
    for line in lines():
        if not line:
            break
        key, colon, value = line.partition(":")
        if colon:
            found[key.strip()] = value.strip()
    return found
