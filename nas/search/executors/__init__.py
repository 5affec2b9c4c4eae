"""Executors: judging the networks of a batch and training winners, in this process or in others, in a given order."""

from __future__ import annotations

from typing import Final

from nas.search.executors.base import Executor, Failure, attempted
from nas.search.executors.serial import Serial

__all__ = ["EXECUTORS", "Executor", "Failure", "Serial", "attempted"]

#: Executors by name.
EXECUTORS: Final[dict[str, str]] = {
    "serial": "nas.search.executors.serial:Serial",
    "processes": "nas.search.executors.processes:Processes",
    "ray": "nas.search.executors.ray_actors:Ray",
}
