"""Finding profiles, the user's own files among them, and what is said about bad ones."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardware_profiles import ProfileError, load, names
from hardware_profiles.registry import SHIPPED, locate, shipped_as
from hardware_profiles.schema import parse


def _board(**changes: Any) -> dict[str, Any]:
    """A valid profile of an invented board, with the given keys replaced (None removes one)."""

    def number(value: float) -> dict[str, Any]:
        return {"value": value, "source": "me", "grade": "measured"}

    data: dict[str, Any] = {
        "schema": 1,
        "id": "my_board",
        "name": "My board",
        "kind": "cpu",
        "family": "cortex-a72",
        "aliases": ["bench_7"],
        "sources": {"me": "measured on my desk"},
        "cores": number(4),
        "peak_flops_per_s": {"float32": number(5e10)},
        "bandwidth_bytes_per_s": number(1e10),
        "stream_fraction": number(0.5),
        "caches": [{"level": 1, "bytes": 32768, "scope": "core", "source": "me", "grade": "measured"}],
        "memory_bytes": number(2**31),
        "launch_overhead_s": number(1e-6),
        "fusions": ["conv_bn"],
        **changes,
    }
    return {key: value for key, value in data.items() if value is not None}


def _write(folder: Path, data: dict[str, Any], name: str = "my_board") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def _with(path: str, value: Any) -> dict[str, Any]:
    """The invented board with one nested value replaced; `path` is dotted, list positions are numbers."""
    data = copy.deepcopy(_board())
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    node: Any = data
    for part in parents:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return data


def test_own_profiles_are_found_by_id_alias_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _write(tmp_path / "hardware_profiles", _board())
    profile = load("my_board")
    assert profile.peak() == 5e10 and profile.bandwidth() == 5e9
    assert load("BENCH-7") == load(path) == load(str(path)) == profile
    assert "my_board" in names() and "rpi4b" in names() and "host" in names()


def test_an_own_profile_hides_the_shipped_one_of_the_same_id(tmp_path: Path) -> None:
    _write(tmp_path, _board(id="rpi4b", aliases=["pi4"]), "rpi4b")
    assert load("rpi4b", [tmp_path]).name == "My board"
    assert load("pi4", [tmp_path]).name == "My board"
    assert load("rpi4b", []).name == "Raspberry Pi 4B (BCM2711)"


@pytest.mark.parametrize("alias", ["raspi4", "jetson-nano"])
def test_an_alias_of_another_device_is_refused(tmp_path: Path, alias: str) -> None:
    path = _write(tmp_path, _board(aliases=[alias]))
    with pytest.raises(ProfileError, match=rf"{path}: aliases has '{alias}', which already names"):
        load("my_board", [tmp_path])


def test_two_own_profiles_with_one_alias_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, _board())
    _write(tmp_path, _board(id="my_other"), "my_other")
    with pytest.raises(ProfileError, match="'bench_7' is an alias in both"):
        load("bench_7", [tmp_path])


def test_the_file_of_a_device_can_be_asked_for(tmp_path: Path) -> None:
    path = _write(tmp_path, _board())
    assert locate("My-Board", [tmp_path]) == locate("bench_7", [tmp_path]) == path
    assert locate("host") is None and locate(str(path)) == path
    assert locate("raspi4") == SHIPPED / "rpi4b.yaml"


def test_names_of_shipped_devices_are_taken() -> None:
    assert shipped_as("rpi4b") == shipped_as("RPI-4B") == shipped_as("raspi4") == "rpi4b"
    assert shipped_as("my_board") is None


@pytest.mark.parametrize(
    ("name", "near"), [("rpi44", "rpi4b"), ("a100", "a100_sxm_40gb"), ("xeon_gold", "xeon_gold_6226")]
)
def test_an_unknown_name_gets_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ProfileError, match=rf"no device profile is called '{name}'; nearest: .*{near}"):
        load(name)


def test_a_name_like_no_other_gets_the_whole_list() -> None:
    with pytest.raises(ProfileError, match=r"known: a100_sxm_40gb, .*xeon_silver_4210r"):
        load("quux")


BAD = [
    ("bandwith_bytes_per_s", 1e9, "bandwith_bytes_per_s is not a key .* did you mean 'bandwidth_bytes_per_s'"),
    ("peak_flops_per_s.float32.valeu", 1, "peak_flops_per_s.float32.valeu is not a key .* did you mean 'value'"),
    ("cores.value", -4, "cores.value is -4; it cannot be negative"),
    ("tdp_w", {"value": 5, "grade": "sheet"}, "tdp_w has no source"),
    ("cores.grade", ..., "cores has no grade"),
    ("cores.source", "you", "cores.source is 'you', which 'sources' does not explain"),
    ("cores.grade", "rumour", "cores.grade is 'rumour'; choose from sheet"),
    ("bandwidth_bytes_per_s.value", "12.8 GB/s", "is '12.8 GB/s'; write a plain number, in bytes per second"),
    ("bandwidth_bytes_per_s.value", 12.8, r"is 12.8, outside .*; the unit is bytes per second"),
    ("launch_overhead_s.value", 5, "the unit is seconds"),
    ("stream_fraction.value", 55, "a fraction of the bandwidth between 0 and 1"),
    ("bandwidth_bytes_per_s", 1e10, "bandwidth_bytes_per_s is 10000000000.0; write {value"),
    ("cores.value", True, "cores.value is True; write a plain number"),
    ("cores.value", float("nan"), "cores.value is nan; a finite number"),
    ("cores.value", 10**400, "cores.value is inf; a finite number"),
    ("bandwidth_bytes_per_s.value", -(10**400), "bandwidth_bytes_per_s.value is inf; a finite number"),
    ("peak_flops_per_s.float64", 1, "peak_flops_per_s.float64 is not a key"),
    ("peak_flops_per_s.float32", ..., "peak_flops_per_s has no float32"),
    ("memory_bytes", ..., "memory_bytes is missing"),
    ("schema", 2, "this release reads schema 1"),
    ("kind", "cup", "kind is 'cup'; choose from cpu"),
    ("id", "My Board", "use lower-case letters"),
    ("fusions.0", "conv_relu", "fusions is 'conv_relu'; choose from conv_bn"),
    ("caches.0.bytes", 32, "write whole bytes, at least 1024"),
    ("caches.0.scope", "chip", "scope is 'chip'; choose from core"),
    ("caches", "32+32 per core", "caches is '32.32 per core'; a list is needed"),
    ("tvm_target", "llvm -mcpu=znver3", "tvm_target is 'llvm -mcpu=znver3'; write a table with a 'kind'"),
    ("aliases", [7], "aliases is 7; a text is needed"),
    ("machine", "mine", "machine is 'mine'; a table"),
    ("machine", {"cores": 4}, "machine.cores is 4; a text is needed"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD, ids=[f"{key}={str(value)[:12]}" for key, value, _ in BAD])
def test_a_bad_profile_is_refused_with_file_key_and_reason(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = _write(tmp_path, _with(key, value))
    with pytest.raises(ProfileError, match=rf"^{path}: .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: [1", "not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
        ("schema: 1\nid: a\nid: b", "the key 'id' is given twice"),
        ("just a text", "a table of 'key: value' lines is needed"),
        ("", "a table of 'key: value' lines is needed"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my_board.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=message):
        load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"nothing\.yaml: cannot be read"):
        load(tmp_path / "nothing.yaml")


def test_the_file_must_be_called_like_the_device(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="id is 'my_board'; it must equal the file's name, 'other'"):
        load(_write(tmp_path, _board(), "other"))


def test_exponents_without_a_point_are_numbers(tmp_path: Path) -> None:
    data = _with("bandwidth_bytes_per_s.value", "48e9")
    assert load(_write(tmp_path, data)).bandwidth_bytes_per_s.value == 48e9


def test_threads_share_the_peak_of_a_cpu() -> None:
    profile = parse(_board())
    assert [profile.peak("float32", n) for n in (1, 2, 4, 8)] == [1.25e10, 2.5e10, 5e10, 5e10]
    with pytest.raises(ProfileError, match="no peak for dtype 'int8', only for float32"):
        profile.peak("int8")
    one_core = {"float32": {"value": 2e10, "source": "me", "grade": "measured"}}
    turbo = parse(_board(core_flops_per_s=one_core))
    assert [turbo.peak("float32", n) for n in (1, 2, 4)] == [2e10, 4e10, 5e10]
    limit = {"value": 2e9, "source": "me", "grade": "measured"}
    slow_core = parse(_board(core_bandwidth_bytes_per_s=limit))
    assert [slow_core.bandwidth(n) for n in (1, 2, 4, None)] == [2e9, 4e9, 5e9, 5e9]
