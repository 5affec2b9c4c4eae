"""Constants that are folded have the values and the types that TVM computes, and no warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.deploy.schedules.constants import folded
from nas.deploy.tvm import available

pytestmark = pytest.mark.skipif(not available()[0], reason=available()[1])


@pytest.mark.parametrize("operator", ["add", "subtract", "multiply", "divide"])
@pytest.mark.parametrize("kind", ["int64", "int32", "float32", "float64"])
def test_as_tvm_computes_them(operator: str, kind: str) -> None:
    import tvm
    from tvm import relax

    first, second = np.array([-7, 7, 5], kind), np.array([2, 2, 0 if "float" in kind else 3], kind)
    builder = relax.BlockBuilder()
    with builder.function("main", []):
        builder.emit_func_output(
            builder.emit(getattr(relax.op, operator)(relax.const(first, kind), relax.const(second, kind)))
        )

    def result(module: tvm.IRModule) -> NDArray[Any]:
        machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
        return np.asarray(machine["main"]().numpy())

    plain, known = result(builder.get()), result(folded(builder.get()))
    assert known.dtype == plain.dtype == np.dtype(kind)
    np.testing.assert_array_equal(known, plain)
