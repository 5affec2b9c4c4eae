"""Every runner keeps the laws of `nas.testing.runner`; what breaks one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hardware_profiles import Target
from nas.deploy.builders import OnnxBuilder
from nas.deploy.tvm import available, compiler
from nas.devices.runners import RUNNERS, runner_class
from nas.testing import BrokenLaw, Law, laws_of

needs_tvm = pytest.mark.skipif(not available()[0] or compiler().command is None, reason="TVM or a compiler is missing")
#: Those that compile take a second per network.
QUICK = {"tvm": ("it_has_what_a_run_uses", "what_cannot_be_run_is_said", "another_version_is_refused")}


@pytest.mark.parametrize("law", laws_of("runner"), ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "onnxruntime",
        pytest.param("tvm", marks=[needs_tvm, pytest.mark.slow]),
    ],
)
def test_ours(name: str, law: Law[Any]) -> None:
    law(runner_class(name))


@needs_tvm
@pytest.mark.parametrize("law", [law for law in laws_of("runner") if law.name in QUICK["tvm"]], ids=str)
def test_tvm_where_nothing_is_compiled(law: Law[Any]) -> None:
    law(runner_class("tvm"))


def test_all_of_ours_are_tried() -> None:
    assert set(RUNNERS) == {"onnxruntime", "tvm"}


class Careless:
    """Gives the same memory each time, loads anything, and takes any version for its own."""

    builder: ClassVar = OnnxBuilder
    version = "careless 1"

    def __init__(self, target: Target) -> None:
        self.target = target

    def load(self, artefact: Path) -> Any:
        answer = np.zeros((1, 5), np.float32)

        def program(*inputs: Any) -> Any:
            answer[:] += 1
            return [answer]

        return program


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("answers_are_those_of_the_network", "answers otherwise than the network at exit 0"),
        ("answers_are_the_callers_own", "an answer changed with the next call"),
        ("what_cannot_be_run_is_said", "a file of nonsense is loaded without a word"),
        ("another_version_is_refused", "asks for version"),
    ],
)
def test_a_careless_one_breaks_laws(law: str, said: str) -> None:
    (found,) = [each for each in laws_of("runner") if each.name == law]
    with pytest.raises(BrokenLaw, match=said):
        found(Careless)
