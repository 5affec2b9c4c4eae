"""Where a user without a home folder keeps what can be made again, and paths that begin with one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from nas.errors import InputError
from nas.process.cache import cache_home
from nas.tasks.image_classification.files import expanded
from nas.tasks.image_classification.npz import npz


def test_nobody_needs_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> NoReturn:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_home() == Path.home() / ".cache" / "hwnas"
    monkeypatch.setattr(Path, "home", nowhere)
    assert cache_home().is_relative_to(tempfile.gettempdir())
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_home() == Path("/elsewhere/hwnas")


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "a\0b"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    for use in (expanded, npz):
        with pytest.raises(InputError, match=r"write the whole path|zero character"):
            use(path)
