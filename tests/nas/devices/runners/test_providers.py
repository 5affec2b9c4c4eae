"""Providers of ONNX Runtime: what computes there is found out, and the processor never stands in."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from hardware_profiles import Target
from nas.deploy.cascade import Cascade
from nas.deploy.onnx import to_onnx
from nas.devices.runners import onnx_session, runner_for
from nas.devices.runners.onnx_session import BoundProgram, Refused
from nas.errors import InputError
from nas.exits.policies import MaxProbability
from tests.nas.deploy.small_networks import one_exit, random_weights

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture
def model() -> bytes:
    network = one_exit()
    return to_onnx(network, random_weights(network))


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_refused(provider: str, model: bytes) -> None:
    with pytest.raises(InputError, match=f"target.provider: ONNX Runtime .* has no provider {provider} .*CPUExec"):
        runner_for(Target("host", "onnxruntime", provider=provider))
    with pytest.raises(Refused, match="has no provider"):
        onnx_session.load(model, 1, "model.onnx", provider)


@pytest.mark.parametrize(("runner", "said"), [("onnxruntime", "never tried"), ("tvm", "made for processors")])
def test_what_was_never_tried_is_refused(runner: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        runner_for(Target("host", runner, provider="openvino"))


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA")
def test_a_silent_fallback_is_found_out(monkeypatch: pytest.MonkeyPatch, model: bytes) -> None:
    """As where the package has a provider, and the machine lacks its libraries: the processor would compute."""
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    real = onnxruntime.InferenceSession

    def falls_back(data: bytes, options: Any, providers: list[str]) -> Any:
        assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
        return real(data, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    with pytest.raises(Refused, match=r"runs model\.onnx with CPUExecutionProvider and not with CUDAExecutionProvider"):
        onnx_session.load(model, 1, "model.onnx", "cuda")


def test_bound_arrays_give_the_same(exported: Any) -> None:
    """Segments that hand on what lies on a device, as a cascade runs them; here the device is the processor."""
    bound = []
    for path in [exported.folder / segment.file for segment in exported.segments]:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        bound.append(BoundProgram(session, "cpu"))
    takes, gives = [s.takes for s in exported.segments], [s.outputs for s in exported.segments]
    cascade = Cascade(bound, takes, gives, [None] * (len(bound) - 1), MaxProbability())
    for found, expected in zip(cascade.run_all(exported.sample), exported.logits, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.skipif(not HAS_CUDA, reason="this ONNX Runtime has no CUDA")
def test_a_gpu_computes_the_same(model: bytes) -> None:
    sample = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    (expected,) = onnx_session.load(model, 1, "model.onnx")(sample)
    (found,) = onnx_session.load(model, 1, "model.onnx", "cuda")(sample)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
