"""The C++ kernel against XLA's grouped convolution in double precision, and life without a compiler."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.nn import layers, native
from nas.nn.backend import cache_folder


@pytest.fixture(scope="module")
def compiled(quick_compilation: None) -> None:
    """Skips where there is nothing to test."""
    if not native.available():
        pytest.skip("no C++ compiler on this machine")


#: (images, height, width, channels, stored side, active side, active channels, stride, padding)
Case = tuple[int, int, int, int, int, int, int, int, int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kernel = draw(st.sampled_from([1, 2, 3, 4, 5, 7, 9]))
    size = kernel - 2 * draw(st.integers(0, (kernel - 1) // 2))
    channels = draw(st.integers(1, 20))
    padding = draw(st.integers(0, kernel - 1))
    least = max(1, kernel - 2 * padding)
    height, width = draw(st.integers(least, least + 9)), draw(st.integers(least, least + 9))
    active, stride = draw(st.integers(1, channels)), draw(st.integers(1, 3))
    return draw(st.integers(1, 10)), height, width, channels, kernel, size, active, stride, padding


@pytest.mark.usefixtures("compiled")
@settings(max_examples=25, deadline=None, derandomize=True)
@given(cases())
def test_native_equals_grouped_convolution(case: Case) -> None:
    n, height, width, channels, kernel, size, active, stride, padding = case
    rng = np.random.default_rng(case)
    x = rng.standard_normal((n, height, width, channels)).astype(np.float32)
    x[..., active:] = 0
    w = rng.standard_normal((kernel, kernel, channels)).astype(np.float32)
    y, pull = jax.vjp(lambda x, w: native.depthwise(x, w, np.int32(size), np.int32(active), stride, padding), x, w)
    g = rng.standard_normal(y.shape).astype(np.float32)
    g[..., active:] = 0
    got = (y, *pull(jnp.asarray(g)))
    expected = reference(x.astype(np.float64), w.astype(np.float64), g.astype(np.float64), size, stride, padding)
    for a, b in zip(got, expected, strict=True):
        assert np.linalg.norm(a - b) <= 1e-6 * np.linalg.norm(b) + 1e-12
        assert not np.asarray(a)[..., active:].any()


Doubles = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def reference(x: Doubles, w: Doubles, g: Doubles, size: int, stride: int, padding: int) -> tuple[Doubles, ...]:
    """Output and gradients by adding up one kernel element after the other."""
    kernel, (height, width) = w.shape[0], g.shape[1:3]
    edge = (kernel - size) // 2
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    y, dw, dpadded = np.zeros_like(g), np.zeros_like(w), np.zeros_like(padded)
    for i in range(edge, edge + size):
        for j in range(edge, edge + size):
            rows, columns = slice(i, i + height * stride, stride), slice(j, j + width * stride, stride)
            y += padded[:, rows, columns][:, :height, :width] * w[i, j]
            dw[i, j] = (padded[:, rows, columns][:, :height, :width] * g).sum((0, 1, 2))
            dpadded[:, rows, columns][:, :height, :width] += g * w[i, j]
    return y, dpadded[:, padding : padding + x.shape[1], padding : padding + x.shape[2]], dw


def depthwise_of_ones() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    kernels = layers.Kernels((3, 5), jnp.asarray(0))
    return np.asarray(layers.depthwise(jnp.ones((1, 4, 4, 2)), jnp.ones((5, 5, 2)), kernels=kernels))


@pytest.mark.parametrize("compiler", ["/does/not/exist", "false"])
def test_without_a_working_compiler_the_other_form_runs(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "available", native.available.__wrapped__)
    assert not native.available()
    y = depthwise_of_ones()
    assert y[0, 1, 1, 0] == 9 and y[0, 0, 0, 1] == 4
    assert list((cache_folder() / "native").iterdir()) == []


@pytest.mark.usefixtures("compiled")
def test_the_library_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = native._build()
    made = library.stat().st_mtime_ns
    assert native._build() == library and library.stat().st_mtime_ns == made
    assert list((cache_folder() / "native").iterdir()) == [library]


@pytest.mark.usefixtures("compiled")
def test_the_centre_of_the_kernel_is_used() -> None:
    assert depthwise_of_ones()[0, 1, 1, 0] == 9
