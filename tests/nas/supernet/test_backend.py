"""Setting up the process: nothing the user chose is overridden."""

from pathlib import Path

import jax
import pytest

from nas.nn.backend import cache_folder, prepare


def test_the_users_compilation_cache_is_respected(tmp_path: Path) -> None:
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        prepare()
        assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path)
        jax.config.update("jax_compilation_cache_dir", None)
        prepare()
        assert jax.config.values["jax_compilation_cache_dir"] == str(cache_folder() / "xla")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_the_cache_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "hwnas"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / ".cache" / "hwnas"
