"""Providers of ONNX Runtime: what computes there is found out, and the processor never stands in."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

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


def _event(name: str, provider: str | None, cat: str = "Node", **args: str) -> dict[str, Any]:
    return {
        "cat": cat,
        "ph": "X",
        "name": name,
        "args": {**({} if provider is None else {"provider": provider}), **args},
    }


CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
#: As ONNX Runtime writes them: 1.12 with the waits around each node, and later versions.
EVENTS = [
    {"cat": "Session", "ph": "X", "name": "model_loading_array", "args": {}},
    {"cat": "Session", "ph": "X", "name": "session_initialization"},
    _event("stem_fence_before", None, op_name="Conv"),
    _event("stem_kernel_time", CUDA, op_name="Conv"),
    _event("stem_fence_after", None, op_name="Conv"),
    _event("stem_kernel_time", CUDA, op_name="Conv"),
    _event("implicit_convolve_sgemm", None, cat="Kernel", stream="7"),
    _event("TensorrtExecutionProvider_TRTKernel_graph_g_1_0_kernel_time", TENSORRT, op_name="TRTKernel"),
    _event("Memcpy_kernel_time", CUDA, op_name="MemcpyToHost"),
    _event("head_kernel_time", CPU, op_name="Gemm"),
    _event("_kernel_time", CPU, op_name="Shape", node_index="9"),
    _event("SequentialExecutor::Execute", CPU, cat="Session"),
]


def test_nodes_are_placed_by_the_events_of_a_profile() -> None:
    assert onnx_session.placed(EVENTS) == {
        "stem": {CUDA},
        "TensorrtExecutionProvider_TRTKernel_graph_g_1_0": {TENSORRT},
        "Memcpy": {CUDA},
        "head": {CPU},
        "Shape 9": {CPU},
    }


@pytest.mark.parametrize(
    ("provider", "nodes", "said"),
    [
        ("cuda", {"a": {CUDA}, "b": {CUDA}}, ""),
        ("cuda", {"a": {CUDA}, "b": {CPU}}, rf"1 of its 2 nodes ran elsewhere \(b on {CPU}\)"),
        ("cuda", {"a": {CUDA, CPU}}, rf"1 of its 1 nodes .*\(a on {CPU}\)"),
        ("cuda", {name: {CPU} for name in "abcde"}, rf"5 of its 5 .*\(a on {CPU}; b on .*; c on {CPU} and 2 more\)"),
        ("cuda", {"a": {TENSORRT}}, rf"a on {TENSORRT}"),
        ("cuda", {}, "none of its 0 nodes ran there"),
        ("tensorrt", {"a": {TENSORRT}}, ""),
        ("tensorrt", {"a": {TENSORRT}, "b": {CUDA}}, ""),
        ("tensorrt", {"a": {CUDA}, "b": {CUDA}}, rf"none of its 2 nodes ran there \(all on {CUDA}\)"),
        ("tensorrt", {"a": {TENSORRT}, "b": {CPU}}, rf"b on {CPU}"),
        ("tensorrt", {}, "none of its 0 nodes"),
    ],
)
def test_only_nodes_that_ran_there_prove_a_provider(provider: str, nodes: dict[str, set[str]], said: str) -> None:
    found = onnx_session.misplaced(nodes, provider)
    assert re.fullmatch(f".*{said}.*", found) if said else found == ""


def test_a_session_says_where_its_nodes_run(model: bytes, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "nodes")
    session = onnxruntime.InferenceSession(model, options, providers=[CPU])
    found = onnx_session.ran_on(session)
    assert "final.dense" in found and all(providers == {CPU} for providers in found.values())


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "DOUBLE", "INT64", "UINT8", "BOOL"])
def test_zeros_have_the_types_and_shapes_of_inputs(kind: str, tmp_path: Path) -> None:
    element = getattr(onnx.TensorProto, kind)
    values = [helper.make_tensor_value_info(name, element, ["n", None, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"], "same")], "g", values[:1], values[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "nodes")
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=[CPU])
    assert onnx_session.ran_on(session) == {"same": {CPU}}


class Older(onnxruntime.InferenceSession):
    """As of a version that passes over the entry against the processor; `says` is where its profile has the nodes."""

    says = CPU
    profiles: ClassVar[list[Path]] = []

    def __init__(self, data: bytes, options: Any, providers: list[str]) -> None:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "0")
        super().__init__(data, options, providers=[CPU])
        self._asked = providers

    def get_providers(self) -> list[str]:
        return [*self._asked, CPU]

    def end_profiling(self) -> str:
        profile = Path(super().end_profiling())
        profile.write_text(profile.read_text().replace(CPU, self.says))
        self.profiles.append(profile)
        return str(profile)


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> type[Older]:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Older)
    monkeypatch.setattr(Older, "profiles", [])
    return Older


@pytest.mark.parametrize(
    ("provider", "says", "said"),
    [
        ("cuda", CPU, rf"runs model\.onnx with {CUDA}, but \d+ of its \d+ nodes ran elsewhere \(.+ on {CPU}"),
        ("tensorrt", CPU, rf"with {TENSORRT}, but \d+ of its \d+ nodes ran elsewhere \(.+ on {CPU}"),
        ("tensorrt", CUDA, rf"with {TENSORRT}, but none of its \d+ nodes ran there \(all on {CUDA}\)"),
        ("cuda", CUDA, ""),
        ("tensorrt", TENSORRT, ""),
    ],
)
def test_versions_that_allow_the_processor_are_found_out(
    provider: str, says: str, said: str, older: type[Older], model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(older, "says", says)
    if said:
        with pytest.raises(Refused, match=said):
            onnx_session.load(model, 1, "model.onnx", provider)
    else:
        assert isinstance(onnx_session.load(model, 1, "model.onnx", provider), BoundProgram)
    (profile,) = older.profiles
    assert not profile.parent.exists()


@pytest.mark.parametrize("content", ["", "[{", None])
def test_a_profile_that_cannot_be_read_proves_nothing(
    content: str | None, older: type[Older], model: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = tmp_path / "profile.json"
    if content is not None:
        profile.write_text(content)
    monkeypatch.setattr(older, "end_profiling", lambda _: str(profile))
    with pytest.raises(Refused, match=r"where the nodes of model\.onnx run cannot be found out"):
        onnx_session.load(model, 1, "model.onnx", "cuda")


def test_without_room_for_a_profile_nothing_is_proved(
    older: type[Older], model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nothing")
    with pytest.raises(Refused, match=r"where the nodes of model\.onnx run cannot be found out: .*No such file"):
        onnx_session.load(model, 1, "model.onnx", "cuda")


def test_the_processor_is_not_profiled(older: type[Older], model: bytes) -> None:
    onnx_session.load(model, 1, "model.onnx")
    assert not older.profiles
