"""How fast deployed networks are on this machine, one thread: ONNX Runtime, TVM as it comes, and TVM by our rules.

    python benchmarks/deploy.py --json benchmarks/results/deploy.json
    python benchmarks/deploy.py --networks mobilenet_v2_32 --engines onnxruntime ours
    python benchmarks/deploy.py --networks mobilenet_v2_224 --kernels

Engines take turns in one process, and CPU time is counted, so that others on the machine disturb all alike. `ratio` is
the median CPU time over that of ONNX Runtime; `of_peak` the multiply-adds of the network over what this core was
measured to do in registers alone, in the same process; `max_difference` the largest difference of a logit from ONNX
Runtime's, over the largest logit. What is in the JSON already is not measured again. --kernels tells where our time
goes, call by call, with the shapes of what a kernel reads and writes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import figures
import numpy as np
from deploy_networks import networks, random_weights
from numpy.typing import NDArray

from hardware_profiles.host import tvm_target
from nas.deploy.onnx import to_onnx
from nas.deploy.parity import compare
from nas.deploy.tvm import compiler, to_tvm
from search_spaces.ir import Network

Array = NDArray[Any]
Engine = Callable[[Array], Sequence[Array]]
ENGINES = ("onnxruntime", "tvm default", "ours")
#: Seconds of CPU that each engine of a network is run for, in so many turns.
_EACH_S, _TURNS = 1.5, 15


def main() -> int:
    """Measure what is not in the file yet, print it, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, and go on from them")
    parser.add_argument("--networks", nargs="+", choices=list(networks()), default=list(networks()))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--kernels", action="store_true", help="print where our time goes instead")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json is not None and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    known = {(row["network"], row["engine"]) for row in rows}
    peak = peak_flops()
    print(f"{peak / 1e9:.0f} GFLOP/s in registers\n{'network':<24}{'engine':<13}   CPU ms   ratio of peak  difference")
    for name in arguments.networks:
        network = networks()[name]
        if arguments.kernels:
            print_kernels(name, network)
            continue
        missing = [engine for engine in arguments.engines if (name, engine) not in known]
        if missing:
            made = measure(name, network, [ENGINES[0], *(engine for engine in missing if engine != ENGINES[0])], peak)
            rows += [row for row in made if row["engine"] in missing]
            if arguments.json is not None:
                figures.write(arguments.json, {"peak_gflops": peak / 1e9, "rows": rows})
        for row in rows:
            if row["network"] == name:
                print(
                    f"{name:<24}{row['engine']:<13}{row['cpu_ms']:9.3f}{row['ratio']:8.2f}{row['of_peak']:8.1%}"
                    f"{row['max_difference']:12.1e}"
                )
    return 0


def measure(name: str, network: Network, engines: Sequence[str], peak: float) -> list[dict[str, Any]]:
    """A row for each engine, the first of which is ONNX Runtime."""
    data = to_onnx(network, random_weights(network))
    sample = _sample(network)
    loaded, built_s = {}, {}
    for engine in engines:
        start = time.process_time()
        loaded[engine] = _LOADERS[engine](data)
        built_s[engine] = time.process_time() - start
    seconds: dict[str, list[float]] = {engine: [] for engine in engines}
    calls = {engine: max(1, round(_EACH_S / _TURNS / _cpu_s(run, sample, 1))) for engine, run in loaded.items()}
    for _ in range(_TURNS):
        for engine, run in loaded.items():
            seconds[engine].append(_cpu_s(run, sample, calls[engine]))
    median = {engine: float(np.median(taken)) for engine, taken in seconds.items()}
    (first,) = loaded[engines[0]](sample)[-1:]
    return [
        {
            "network": name,
            "engine": engine,
            "tuning_s": 0,
            "ratio": median[engine] / median[engines[0]],
            "of_peak": 2 * network.macs / median[engine] / peak,
            "max_difference": compare(first, loaded[engine](sample)[-1]).relative,
            "cpu_ms": median[engine] * 1e3,
            "build_cpu_s": built_s[engine],
        }
        for engine in engines
    ]


def _sample(network: Network) -> Array:
    shape = (1, *network.inputs[0].shape)
    return np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)


def _cpu_s(run: Engine, sample: Array, calls: int) -> float:
    run(sample)
    start = time.process_time()
    for _ in range(calls):
        run(sample)
    return (time.process_time() - start) / calls


def _onnxruntime(data: bytes) -> Engine:
    from nas.devices.runners.onnx_session import load

    return load(data, 1, "network")


def _ours(data: bytes) -> Engine:
    from nas.devices.runners.tvm_library import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.so"
        to_tvm(data, _target(), path)
        return load(path.read_bytes(), 1, "network")


def _default(data: bytes) -> Engine:
    """TVM's own pipeline, as it comes."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    from nas.devices.runners.tvm_library import load

    target = tvm.target.Target(dict(_target()))
    module = from_onnx(onnx.load_from_string(data), keep_params_in_input=False, sanitize_input_names=False)
    with target:
        passes = [relax.transform.DecomposeOpsForInference(), relax.transform.CanonicalizeBindings()]
        module = tvm.ir.transform.Sequential([*passes, relax.get_pipeline("zero")])(module)
    built = tvm.compile(module, target=target, relax_pipeline=relax.get_pipeline("default_build"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.so"
        built.export_library(str(path), fcompile=compiler().link, workspace_dir=folder)
        return load(path.read_bytes(), 1, "network")


_LOADERS: Mapping[str, Callable[[bytes], Engine]] = dict(zip(ENGINES, (_onnxruntime, _default, _ours), strict=True))


def _target() -> dict[str, Any]:
    return {**tvm_target(), "num-cores": 1}


def peak_flops() -> float:
    """Floating-point operations per second of this core: multiply-adds of vectors that stay in registers."""
    import tvm
    from tvm import tirx

    from nas.deploy.schedules.loops import sequence, serial, vector
    from nas.deploy.schedules.processor import processor_of

    target = tvm.target.Target(_target())
    lanes, chains, rounds = processor_of(target).lanes, 12, 100_000
    given = tirx.decl_buffer((2 * lanes,), "float32")
    made = tirx.decl_buffer((chains * lanes,), "float32")
    sums = [tirx.decl_buffer((lanes,), "float32", scope="local") for _ in range(chains)]

    def every(make: Callable[[int, Any, Any], Any]) -> list[Any]:
        return [vector(lanes, partial(make, n, one)) for n, one in enumerate(sums)]

    begin = every(lambda n, one, lane: tirx.BufferStore(one, given[lane], [lane]))
    step = every(lambda n, one, lane: tirx.BufferStore(one, one[lane] * given[lane] + given[lanes + lane], [lane]))
    end = every(lambda n, one, lane: tirx.BufferStore(made, one[lane], [n * lanes + lane]))
    body = sequence([*map(tirx.AllocBuffer, sums), *begin, serial(rounds, lambda _: sequence(step)), *end])
    attributes = {"global_symbol": "main", "tirx.noalias": True, "s_tir": True}
    function = tirx.PrimFunc([given, made], body).with_attr(attributes)
    main_ = tvm.compile(tvm.IRModule({"main": function}), target=target)["main"]
    arrays = [tvm.runtime.tensor(np.full(size, 0.5, np.float32)) for size in (2 * lanes, chains * lanes)]
    taken = []
    for _ in range(40):
        start = time.process_time()
        main_(*arrays)
        taken.append(time.process_time() - start)
    return 2 * lanes * chains * rounds / min(taken)


def print_kernels(name: str, network: Network, most: int = 30) -> None:
    """Where our time goes: the least of some runs for each call of the network, the longest first."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    from nas.deploy.schedules.pipeline import scheduled

    target = tvm.target.Target(_target())
    model = onnx.load_from_string(to_onnx(network, random_weights(network)))
    module = scheduled(from_onnx(model, keep_params_in_input=False, sanitize_input_names=False), target)
    built = tvm.compile(module, target=target, relax_pipeline=relax.get_pipeline("default_build"))
    machine = relax.VirtualMachine(built, tvm.cpu())
    calls: list[tuple[str, str, float]] = []
    begun = 0.0

    def instrument(_: Any, symbol: str, before: bool, __: Any, *arguments: Any) -> int:
        nonlocal begun
        now = time.perf_counter()
        if before:
            begun = time.perf_counter()
        else:
            shapes = [list(map(int, each.shape)) for each in arguments if hasattr(each, "shape")]
            calls.append((symbol, " ".join(map(str, shapes)), now - begun))
        return 0

    machine.set_instrument(instrument)
    sample = tvm.runtime.tensor(_sample(network))
    least: dict[int, tuple[str, str, float]] = {}
    for _ in range(20):
        calls.clear()
        machine["main"](sample)
        for number, call in enumerate(calls):
            least[number] = min(call, least.get(number, call), key=lambda each: each[2])
    kernels = [call for call in least.values() if not call[0].startswith("vm.")]
    total = sum(seconds for _, _, seconds in kernels)
    print(f"{name}: {len(kernels)} kernels, {total * 1e6:.0f} us")
    for symbol, shapes, seconds in sorted(kernels, key=lambda call: -call[2])[:most]:
        print(f"{seconds * 1e6:9.1f} us {seconds / total:6.1%}  {symbol[:40]:<40} {shapes}")


if __name__ == "__main__":
    raise SystemExit(main())
