"""Every registered loader can be named in YAML: it imports, is typed and documented, and is light to import."""

import importlib
import inspect
import subprocess
import sys
import typing

import pytest

from nas.tasks.image_classification import DATASETS
from nas.tasks.image_classification.dataset import RawData


@pytest.mark.parametrize("name", DATASETS)
def test_a_schema_can_be_made_of_the_signature(name: str) -> None:
    module, _, attribute = DATASETS[name].partition(":")
    loader = getattr(importlib.import_module(module), attribute)
    hints = typing.get_type_hints(loader)
    assert hints.pop("return") is RawData
    assert list(hints) == list(inspect.signature(loader).parameters)
    assert inspect.getdoc(loader)


def test_loaders_import_nothing_heavy() -> None:
    modules = ", ".join(sorted({reference.partition(":")[0] for reference in DATASETS.values()}))
    program = f"import sys, {modules}; print([m for m in ('sklearn', 'PIL', 'jax', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_the_registry_and_the_fractions_needs_no_numpy() -> None:
    package = "nas.tasks.image_classification"
    program = f"import sys, {package}, {package}.fractions; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
