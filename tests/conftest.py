from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.documents import ROOT


@pytest.fixture(scope="session", autouse=True)
def no_boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have boards of their own, which are none of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


def pytest_collection_finish() -> None:
    """What was imported stays: measurements collect garbage first, and need not look through all of it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def looked_through() -> Iterator[None]:
    """What a module has left besides garbage, such as what was imported late and compiled programs, stays too."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    """benchmarks/reference.py, which reads keys, types and defaults from the signatures."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "benchmarks" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["reference"]
