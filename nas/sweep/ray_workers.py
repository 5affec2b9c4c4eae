"""How do cells run on a Ray cluster? As tasks of Ray, which finds their machines, and begins them again elsewhere.

Tasks of Ray Core, and not trials of Ray Tune: which cells may begin follows from whose shared weights are there, and
what a killed driver goes on with stands in the folders of the runs. Tune has no order between trials, and a state of
its own beside those folders, which lags behind them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nas.config.plugins import Plugins
from nas.errors import InputError
from nas.process.files import TEMPORARY, atomic_write_bytes
from nas.process.interrupt import GRACE_S
from nas.process.ray_cluster import Cluster, Node, connected
from nas.process.release import VERSION
from nas.sweep import ray_node
from nas.sweep.executor import Executor
from nas.sweep.ray_node import FROM_DRIVER, Order, Probe
from nas.sweep.workers import Ended, Task

#: A machine that answers this late is loaded beyond use.
_LOOKS_WITHIN_S: Final = 120.0
_LATE: Final = f"does not answer within {_LOOKS_WITHIN_S:.0f} s; see to it, or take it out"
#: Machines come and go: so often they are counted.
_COUNTED_EVERY_S: Final = 1.0
#: Without any machine for its cells a sweep ends after this long: Ray would wait for ever.
_GONE_S: Final = 60.0
#: What a cell takes to stop where it was asked to, and a worker to say so.
_STOPPED_WITHIN_S: Final = GRACE_S + 5.0


class RayWorkers:
    """Satisfies `workers.Workers`.

    One cell more is begun than there is room for: a machine that becomes free has its next one, and an autoscaler sees
    that more would be of use.
    """

    def __init__(self, cluster: Cluster, executor: Executor, plugins: Plugins) -> None:
        import ray

        self._cluster, self._executor, self._plugins = cluster, executor, plugins
        self._run = ray.remote(ray_node.run)
        self._how: Mapping[str, Any] = {
            "num_cpus": executor.cpus,
            "num_gpus": executor.gpus,
            "resources": dict(executor.others),
            "max_retries": executor.max_failures,
            "scheduling_strategy": "SPREAD",
        }
        self._running: dict[Any, str] = {}
        self._room, self._counted_s, self._had_room_s = 0, -_COUNTED_EVERY_S, time.monotonic()

    def free(self) -> int:
        """How many more cells the cluster has room for, and one; raises InputError where it has had none for long."""
        now = time.monotonic()
        if now - self._counted_s > _COUNTED_EVERY_S:
            self._room = sum(node.room(self._executor.demand) for node in self._cluster.nodes())
            self._counted_s = now
        if self._room:
            self._had_room_s = now
        elif now - self._had_room_s > _GONE_S:
            raise InputError(
                f"no machine of the Ray cluster ({self._cluster.address}) has {_said(self._executor)} any more; "
                "nothing is lost: see to it, and go on with --resume"
            )
        return max(0, self._room + 1 - len(self._running))

    def begin(self, task: Task) -> None:
        """Hand a cell to Ray."""
        order = Order(
            task.name, str(task.files.root.resolve()), os.getcwd(), self._plugins, self._executor.cpus,
            self._executor.gpus, None if task.sweep is None else str(task.sweep.root.resolve()),
        )  # fmt: skip
        begun = self._run.options(name=f"nas cell {task.name}", **self._how).remote(order)
        self._running[begun] = task.name

    def ended(self, patience_s: float) -> list[Ended]:
        """The cells whose tasks have ended, and why."""
        import ray

        if not self._running:
            return []
        ray.wait(list(self._running), timeout=patience_s)
        done, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [Ended(self._running.pop(ref), self._cause(ref)) for ref in done]

    def close(self) -> None:
        """Have Ray ask every cell to stop, and leave the cluster."""
        import ray

        left = list(self._running)
        for ref in left:
            ray.cancel(ref, force=False)
        if left:
            ray.wait(left, num_returns=len(left), timeout=_STOPPED_WITHIN_S)
        self._running.clear()
        self._cluster.close()

    def _cause(self, ref: Any) -> str:
        """What a cell said last; what Ray says where that is nothing."""
        import ray
        from ray import exceptions

        try:
            return str(ray.get(ref))
        except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError) as error:
            again = self._executor.max_failures
            often = f", {again + 1} times (executor.max_failures is {again})" if again else ""
            return f"its process died{often}: {_first_line(error)}"
        except exceptions.RayError as error:
            return f"Ray could not run it: {_last_line(error)}"


def on_cluster(executor: Executor, plugins: Plugins, root: Path) -> RayWorkers:
    """Workers on a cluster on which the cells of a sweep can run, whose folder is, or will be, `root`.

    Raises InputError where that is not so, and has left no file then.
    """
    cluster = connected(executor.address)
    try:
        nodes = _require_room(cluster, executor)
        _require_storage(cluster, nodes, root.resolve())
        _require_room(cluster, executor)
        return RayWorkers(cluster, executor, plugins)
    except BaseException:  # told on; a cluster that was begun for this ends
        cluster.close()
        raise


def _require_room(cluster: Cluster, executor: Executor) -> Sequence[Node]:
    """The machines that a cell can run on; raises InputError where there is none."""
    every = cluster.nodes()
    if able := [node for node in every if node.room(executor.demand)]:
        return able
    has = "; ".join(f"{node.name} has {_named(node)}" for node in every[:3]) + "; …" * (len(every) > 3)
    raise InputError(
        f"a cell asks for {_said(executor)} (executor.resources), and no machine of the Ray cluster "
        f"({cluster.address}) has that: {has}; ask for less, or add such a machine"
    )


def _said(executor: Executor) -> str:
    whole = {"cpus": executor.cpus, "gpus": executor.gpus, **executor.others}
    return ", ".join(f"{name}: {count}" for name, count in whole.items() if count)


def _named(node: Node) -> str:
    rays = {"CPU": "cpus", "GPU": "gpus"}
    own = ("memory", "object_store_memory")
    has = {rays.get(name, name): count for name, count in node.resources.items() if name not in own}
    return ", ".join(f"{name}: {count:g}" for name, count in sorted(has.items()) if ":" not in name) or "nothing"


def _require_storage(cluster: Cluster, nodes: Sequence[Node], root: Path) -> None:
    """Raise InputError for a machine that does not see the sweep's folder: each looks for a file, and leaves one.

    Those that leave the cluster meanwhile are none of its machines any more.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = next(path for path in (root, *root.parents) if path.is_dir())
    try:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=place))
    except OSError as error:
        raise InputError(
            f"{place} cannot be written to ({error.strerror}); choose another folder with --out"
        ) from error
    try:
        probe = Probe(str(folder), secrets.token_hex(16), os.getcwd(), VERSION)
        atomic_write_bytes(folder / FROM_DRIVER, probe.token.encode())
        look = ray.remote(ray_node.look)
        asked = {
            look.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
                probe, node.id
            ): node
            for node in nodes
        }
        done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_LOOKS_WITHIN_S)
        answers = [(asked[ref], _answer(ref) or _unseen(folder / asked[ref].id, probe)) for ref in done]
        answers += [(asked[ref], _LATE) for ref in late]
        there = {node.id for node in cluster.nodes()}
        for node, problem in answers:
            if problem and node.id in there:
                raise InputError(f"the machine {node.name} of the Ray cluster {problem}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answer(ref: Any) -> str:
    import ray
    from ray import exceptions

    try:
        return str(ray.get(ref))
    except exceptions.RayError as error:
        return f"cannot run cells ({_last_line(error)}): hwnas has to be installed there, for the Python that Ray has"


def _unseen(path: Path, probe: Probe) -> str:
    """What is wrong where this machine does not find what another one has written."""
    try:
        found = path.read_text(encoding="ascii")
    except OSError:
        found = ""
    if found == probe.token:
        return ""
    return (
        f"writes to another {path.parent.parent} than this one: run folders have to lie where every machine sees them; "
        "choose such a place with --out"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).strip()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
