"""The deployment key: bad ones are refused, and file names stay safe and distinct."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import ProfileError, Target
from hardware_profiles.target import PROVIDERS, UNTRIED_PROVIDERS

TARGETS = st.builds(
    Target,
    device=st.text(min_size=1, max_size=8),
    runner=st.sampled_from(["onnxruntime", "tvm"]),
    threads=st.integers(1, 64),
    batch=st.integers(1, 64),
    dtype=st.sampled_from(["float32", "float16", "int8"]),
    power_mode=st.none() | st.text(min_size=1, max_size=8),
    runtime_version=st.none() | st.text(min_size=1, max_size=8),
    provider=st.sampled_from([*PROVIDERS, *UNTRIED_PROVIDERS]),
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runner": "TF lite"}, "runner is 'TF lite'; give the name of one, such as onnxruntime"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 1.5}, "threads is 1.5"),
        ({"threads": True}, "threads is True"),
        ({"batch": -1}, "batch is -1"),
        ({"dtype": "fp32"}, "dtype is 'fp32'"),
        ({"device": ""}, "device is ''"),
        ({"provider": "gpu"}, "provider is 'gpu'; choose one of cpu, cuda, tensorrt"),
        ({"power_mode": ""}, "power_mode is ''"),
    ],
)
def test_bad_targets_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"device": "rpi4b", "runner": "onnxruntime", **changes}
    with pytest.raises(ProfileError, match=message):
        Target(**arguments)


def test_keys_read_well() -> None:
    assert Target("rpi4b", "onnxruntime", threads=4).key == "rpi4b-onnxruntime-t4-b1-float32"
    assert Target("host", "tvm", power_mode="MAXN", runtime_version="0.27.0").key == (
        "host-tvm-t1-b1-float32-mode_=4d=41=58=4e-version_0.27.0"
    )


@settings(max_examples=200, deadline=None)
@given(TARGETS, TARGETS)
def test_keys_are_file_names_and_distinct(a: Target, b: Target) -> None:
    assert re.fullmatch(r"[a-z0-9._=-]+", a.key)
    assert (a.key == b.key) == (a == b)


def test_similar_targets_have_different_keys() -> None:
    pairs = [
        (Target("a", "tvm", power_mode="b"), Target("a", "tvm", runtime_version="b")),
        (Target("a", "tvm", power_mode="b-version_c"), Target("a", "tvm", power_mode="b", runtime_version="c")),
        (Target("A", "tvm"), Target("a", "tvm")),
    ]
    for a, b in pairs:
        assert a.key.lower() != b.key.lower()
