"""Several at a time on a Ray cluster, or on one of this machine alone: each worker is an actor with so many cores.

Ray finds machines for actors and starts them; which of them does what is `dispatch`'s. Every machine has to see the
run's folder and the data under the same paths as this one, and to import what this process imports.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from nas.errors import InputError
from nas.process.facts import cores_used
from nas.process.threads import limited_to
from nas.search.executors.base import Failure, crowded, require_counts
from nas.search.executors.dispatch import Answered, Died, Dispatch

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

#: Where Ray itself looks for the address of a cluster.
_ADDRESS: Final = "RAY_ADDRESS"


class Ray:
    """Satisfies `base.Executor`: up to `workers` actors with `threads_per_worker` cores each, as room allows.

    `address` is that of a cluster, as HOST:PORT, or `auto`; without it and RAY_ADDRESS there is one of this machine
    alone, which ends with the process. Raises InputError for numbers that cannot be and where there is no Ray.
    """

    elsewhere: Final = True

    def __init__(self, *, workers: int | None = None, threads_per_worker: int = 1, address: str | None = None) -> None:
        require_counts(workers, threads_per_worker)
        if importlib.util.find_spec("ray") is None:
            raise InputError("Ray is not installed: pip install 'hwnas[ray]', or write `processes` for this machine")
        cores, alone = len(cores_used()), not (address or os.environ.get(_ADDRESS))
        self.workers = most = max(1, cores // threads_per_worker) if workers is None else workers
        # What a cluster has is Ray's to know.
        self.remark = crowded(most, threads_per_worker, cores) if alone else None
        # Actors that are asked to wait for each other on one machine have a part of it each.
        share = threads_per_worker if self.remark is None else cores / most
        self._actors = _Actors(threads_per_worker, address, share if share < 1 else int(share))
        self._dispatch = Dispatch(self._actors, most)

    def map(self, task: Callable[[_Item], _Answer], items: Sequence[_Item]) -> Iterator[_Answer | Failure]:
        """An answer or a failure per item, in order."""
        return self._dispatch.map(task, items)

    def close(self) -> None:
        """End the actors, and leave the cluster."""
        self._dispatch.close()
        self._actors.leave()


class _Worker:
    """What an actor is: it opens tasks in its own process."""

    def __init__(self, threads: int, folder: str, path: list[str]) -> None:
        from threadpoolctl import threadpool_limits

        from nas.process.heap import keep_heap
        from nas.search.executors.work import Work

        keep_heap()
        # Here, and not by Ray, which takes long to make an environment; what Ray itself has loaded is told too.
        os.environ.update(limited_to(threads))
        threadpool_limits(threads)
        # Relative paths of experiments, and modules that a person named, are looked for where the run was begun.
        os.chdir(folder)
        sys.path[:] = path
        self._work = Work()

    def is_there(self) -> None:
        """Says so, by answering."""

    def do(self, task: bytes, item: bytes) -> bytes:
        """What `Work` gives."""
        return self._work(task, item)


class _Actors:
    """Satisfies `dispatch.Crew`: actors that compute with so many threads and are counted as so many `cores`."""

    def __init__(self, threads: int, address: str | None, cores: float) -> None:
        self._threads, self._address, self._cores = threads, address, cores
        self._cluster: Any = None
        self._borrowed = False
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}
        #: What actors are given as soon as they answer, and those that have been given it.
        self._waiting: dict[int, tuple[bytes, bytes]] = {}
        self._reached: set[int] = set()
        self._last = 0

    def begin(self) -> int | None:
        """Have Ray start an actor; the first comes to a cluster. Raises InputError where there is none, or no room."""
        if self._cluster is None:
            self._cluster, self._borrowed = _joined(self._address)
        room = sum(int(node.resources.get("CPU", 0.0) // self._cores) for node in self._cluster.nodes())
        if not room and not self._actors:
            raise InputError(
                f"search.executor: no machine of the Ray cluster ({self._cluster.address}) has {self._threads} cores "
                "for a worker; give fewer threads_per_worker, or add such a machine"
            )
        if len(self._actors) >= room:
            return None
        import ray

        self._last += 1
        self._actors[self._last] = (
            ray.remote(_Worker).options(num_cpus=self._cores).remote(self._threads, os.getcwd(), sys.path)
        )
        return self._last

    def give(self, worker: int, task: bytes, item: bytes) -> None:
        """Hand both to the actor when it has said that it is there: the death of one that is not is no item's fault."""
        self._reached.discard(worker)
        self._waiting[worker] = task, item
        self._asked[self._actors[worker].is_there.remote()] = worker

    def heard(self, patience_s: float) -> list[Answered | Died]:
        """What has come, and who has died."""
        import ray

        ready, _ = ray.wait(list(self._asked), timeout=patience_s)
        found: list[Answered | Died] = []
        for reference in ready:
            worker = self._asked.pop(reference)
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayError as error:
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                found.append(Died(worker, f"its actor died ({lines[0][:200]})", worker in self._reached))
                self.end(worker)
                continue
            if worker in self._waiting:
                self._asked[self._actors[worker].do.remote(*self._waiting.pop(worker))] = worker
                self._reached.add(worker)
            else:
                found.append(Answered(worker, outcome))
        return found

    def end(self, worker: int) -> None:
        """Have Ray kill an actor."""
        import ray

        self._asked = {reference: other for reference, other in self._asked.items() if other != worker}
        self._waiting.pop(worker, None)
        self._reached.discard(worker)
        ray.kill(self._actors.pop(worker))

    def leave(self) -> None:
        """Leave the cluster, if it was for this that the process came to one."""
        if self._cluster is not None and not self._borrowed:
            self._cluster.close()
        self._cluster = None


def _joined(address: str | None) -> tuple[Any, bool]:
    """A cluster, and whether this process has come to it for something else."""
    from nas.process.ray_alone import alone
    from nas.process.ray_cluster import Cluster, connected

    # Not imported here: it takes long, and another may have done so.
    loaded: Any = sys.modules.get("ray")
    if loaded is not None and loaded.is_initialized():
        return Cluster("that of this process"), True
    if address := address or os.environ.get(_ADDRESS):
        return connected(address), False
    here = alone()
    return connected(here.address, here.needed), False
