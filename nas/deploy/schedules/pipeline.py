"""Which passes make kernels of a network? The layout, definitions, TVM's fusion, a kernel for each fused function."""

from __future__ import annotations

from typing import Any

from nas.deploy.schedules.constants import folded
from nas.deploy.schedules.convolution import convolution
from nas.deploy.schedules.elementwise import elementwise, leaves_last_axis_alone, reduction
from nas.deploy.schedules.fused import Block, Fused, fused
from nas.deploy.schedules.layout import channels_last
from nas.deploy.schedules.loops import sequence
from nas.deploy.schedules.operators import legalisations
from nas.deploy.schedules.processor import Processor, processor_of


def scheduled(module: Any, target: Any) -> Any:
    """A module of Relax functions with constant weights, as kernels for a target of kind llvm."""
    import tvm
    from tvm import relax

    processor = processor_of(target)
    with target:
        decompose = [relax.transform.DecomposeOpsForInference(), relax.transform.CanonicalizeBindings()]
        module = channels_last(folded(tvm.ir.transform.Sequential(decompose)(module)))
        module = tvm.ir.transform.Sequential(
            [
                relax.transform.LegalizeOps(legalisations(processor)),
                relax.transform.AnnotateTIROpPattern(),
                relax.transform.FoldConstant(),
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
            ]
        )(module)
    return with_kernels(module, processor)


def with_kernels(module: Any, processor: Processor) -> Any:
    """The same module with a kernel in place of each function that there is a rule for."""
    from tvm import tirx

    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            parts = fused(function)
            body = _body(parts, processor) if parts is not None else None
            if body is not None:
                module.update_func(variable, function.with_body(_rooted(body)))
    return module


def _rooted(body: Any) -> Any:
    """In the one block around everything that TVM's passes look for."""
    from tvm import s_tir, tirx

    return s_tir.SBlockRealize([], tirx.const(True, "bool"), s_tir.SBlock([], [], [], "root", body))


def _body(parts: Fused, processor: Processor) -> Any:
    """The kernel of a fused function; None without a rule for it."""
    from tvm import tirx

    statements = [tirx.AllocBuffer(buffer) for buffer in parts.temporaries]
    if parts.anchor is not None and parts.results is not None:
        made = _reduced(parts.anchor, parts.results, processor)
        if made is None:
            return None
        statements.append(made)
    if parts.larger is not None:
        statements.append(elementwise(parts.larger, processor))
    return sequence(statements)


def _reduced(anchor: Block, results: Block, processor: Processor) -> Any:
    if anchor.anchor is not None:
        return convolution(anchor, results, processor)
    return reduction(anchor, results, processor) if leaves_last_axis_alone(anchor) else None
