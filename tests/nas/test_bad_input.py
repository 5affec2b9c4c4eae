"""Malformed input ends with exit code 2 and one line that helps, and leaves nothing; a full disk loses nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.process import files as run_folder
from nas.stages import verify
from tests.nas.small_runs import SMALL, Command, hashes, small, write

Prepare = Callable[[Path], dict[str, Any] | str]

_SOUND = "name: x\ndata: digits\ntarget: {device: host, runner: onnxruntime}\nbudgets: [{latency: 8 ms}]\n"


def _npz(folder: Path, **changes: np.ndarray[Any, Any]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.random((60, 1, 8, 8), np.float32), "y_train": np.arange(60) % 3, **changes}
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    return small(data={"name": "npz", "path": str(folder / "data.npz")})


def unknown_key(folder: Path) -> dict[str, Any]:
    return small(suprenet={"epochs": 3})


def unknown_inner_key(folder: Path) -> dict[str, Any]:
    return small(supernet={"epoch": 3})


def wrong_type(folder: Path) -> dict[str, Any]:
    return small(supernet={"epochs": "three"})


def bare_number(folder: Path) -> dict[str, Any]:
    return small(budgets=[{"latency": 8}])


def unknown_device(folder: Path) -> dict[str, Any]:
    return small(target={"device": "raspi44", "runner": "onnxruntime"})


def unknown_device_of_a_budget(folder: Path) -> dict[str, Any]:
    return small(budgets=[{"latency": "8 ms", "target": {"device": "jetson_nanoo", "runner": "onnxruntime"}}])


def unknown_data(folder: Path) -> dict[str, Any]:
    return small(data={"name": "didgits"})


def unknown_space(folder: Path) -> dict[str, Any]:
    return small(space={"name": "mobil"})


def unknown_searcher(folder: Path) -> dict[str, Any]:
    return small(search={"searcher": "nsga"})


def missing_section(folder: Path) -> dict[str, Any]:
    return small("budgets")


def runner_tvm(folder: Path) -> dict[str, Any]:
    return small(target={"device": "host", "runner": "tvm"})


def duplicate_key(folder: Path) -> str:
    return _SOUND + "seed: 1\nseed: 2\n"


def alias(folder: Path) -> str:
    return _SOUND + "supernet: &a {epochs: 3}\nwinners: *a\n"


def bottomless(folder: Path) -> str:
    return _SOUND + "supernet: " + "[" * 5000


def not_yaml(folder: Path) -> str:
    return _SOUND + "supernet: {epochs: 3\n"


def only_text(folder: Path) -> str:
    return "just a sentence\n"


def empty_file(folder: Path) -> str:
    return ""


def code_in_a_tag(folder: Path) -> str:
    return _SOUND + f"seed: !!python/object/apply:os.system ['touch {folder}/marker']\n"


def code_in_a_name(folder: Path) -> dict[str, Any]:
    return small(data={"name": "os:system", "command": f"touch {folder}/marker"})


def no_data_file(folder: Path) -> dict[str, Any]:
    return small(data={"name": "npz", "path": str(folder / "nothing.npz")})


def nan_in_data(folder: Path) -> dict[str, Any]:
    x = np.zeros((60, 1, 8, 8), np.float32)
    x[7, 0, 3, 3] = np.nan
    return _npz(folder, x_train=x)


def labels_do_not_fit(folder: Path) -> dict[str, Any]:
    return _npz(folder, y_train=np.arange(59) % 3)


def pickled_data(folder: Path) -> dict[str, Any]:
    return _npz(folder, y_train=np.array([object()] * 60))


def empty_image_folder(folder: Path) -> dict[str, Any]:
    (folder / "images").mkdir()
    return small(data={"name": "image_folder", "path": str(folder / "images"), "size": 8})


def corrupt_image(folder: Path) -> dict[str, Any]:
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / "images" / name / f"{number}.png")
    whole = (folder / "images/cat/1.png").read_bytes()
    (folder / "images/cat/1.png").write_bytes(whole[: len(whole) // 2])
    return small(data={"name": "image_folder", "path": str(folder / "images"), "size": 8})


def truncated_idx(folder: Path) -> dict[str, Any]:
    for part in ("train", "t10k"):
        header = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (20, 28, 28))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + bytes(20 * 784 - (part == "train")))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + (20).to_bytes(4, "big") + bytes(20))
    return small(data={"name": "fashion_mnist", "path": str(folder)})


def batch_too_large(folder: Path) -> dict[str, Any]:
    return small(supernet={"batch_size": 5000})


def no_readings(folder: Path) -> dict[str, Any]:
    return small(calibration={"measurements": str(folder / "no.jsonl")})


def a_space_that_does_not_fit(folder: Path) -> dict[str, Any]:
    return small(space={"name": "mobile", "table": "9x9"})


KINDS: tuple[tuple[Prepare, str], ...] = (
    (unknown_key, "did you mean 'supernet'?"),
    (unknown_inner_key, "supernet.epoch: supernet has no key 'epoch'; did you mean 'epochs'?"),
    (wrong_type, "supernet.epochs: input should be a valid integer, got 'three'"),
    (bare_number, "budgets[0].latency of 8 has no unit; write '8 ms' or '8 s'"),
    (unknown_device, "no device profile is called 'raspi44'; nearest: rpi4b"),
    (unknown_device_of_a_budget, "no device profile is called 'jetson_nanoo'; nearest: jetson_nano"),
    (unknown_data, "did you mean 'digits'?"),
    (unknown_space, "did you mean 'mobile'?"),
    (unknown_searcher, "did you mean 'nsga2'?"),
    (missing_section, "`budgets` is missing; write for example `budgets: [{latency: 8 ms}]`"),
    (runner_tvm, "budgets are measured with onnxruntime; TVM libraries are exported and timed beside it"),
    (duplicate_key, "line 6: the key 'seed' is given twice"),
    (alias, "line 6: the alias *a has to be written out"),
    (bottomless, "nested too deeply"),
    (not_yaml, "line 6: "),
    (only_text, "must hold keys and values, such as `name: quickstart`"),
    (empty_file, "must hold keys and values"),
    (code_in_a_tag, "could not determine a constructor for the tag"),
    (code_in_a_name, "os:system is no loader of data"),
    (no_data_file, "nothing.npz: no such file. Expected np.savez(path, x_train=..., y_train=...)"),
    (nan_in_data, "1 values in 1 images are NaN or infinite, the first at image 7, channel 0, row 3, column 3"),
    (labels_do_not_fit, "y_train has 59 labels, x_train 60 images"),
    (pickled_data, "is no .npz of plain arrays"),
    (empty_image_folder, "classifying needs at least two"),
    (corrupt_image, "1.png: is no image or a damaged one"),
    (truncated_idx, "the header says 20 x 28 x 28 = 15680 values, the file holds 15679; it is truncated"),
    (batch_too_large, "supernet.batch_size is 5000, but only 913 images are left to train on"),
    (no_readings, "no.jsonl"),
    (a_space_that_does_not_fit, "space mobile has no table '9x9'"),
)


@pytest.mark.parametrize(("prepare", "message"), KINDS, ids=lambda x: x.__name__ if callable(x) else "")
def test_malformed_input_is_refused_in_one_line_and_nothing_is_written(
    prepare: Prepare, message: str, nas: Command, tmp_path: Path
) -> None:
    experiment = write(tmp_path, prepare(tmp_path))
    before = hashes(tmp_path)
    assert message in nas("run", experiment, "--out", "run").error
    assert hashes(tmp_path) == before
    assert not Path("run").exists() and not Path("marker").exists()
    assert message in nas("check", experiment).error


def test_a_file_that_is_not_text_is_refused(nas: Command) -> None:
    Path("x.yaml").write_bytes(bytes(range(256)))
    assert "x.yaml: this is not a text file" in nas("run", "x.yaml", "--out", "run").error
    Path("x.yaml").write_bytes(b"name: \0\n")
    assert "x.yaml: " in nas("run", "x.yaml", "--out", "run").error
    assert not Path("run").exists()


def test_a_key_with_a_line_break_does_not_break_the_message(nas: Command, tmp_path: Path) -> None:
    assert "has no key" in nas("run", write(tmp_path, small(**{"a\nb": 1}))).error


def test_an_experiment_that_cannot_be_read_is_refused(nas: Command) -> None:
    assert "there is no experiment file 'nothing.yaml'" in nas("run", "nothing.yaml").error
    Path("folder.yaml").mkdir()
    assert "there is no experiment file 'folder.yaml'" in nas("run", "folder.yaml").error


def test_a_run_needs_a_folder_of_its_own(nas: Command, tmp_path: Path) -> None:
    experiment = write(tmp_path, SMALL)
    Path("file").write_text("content")
    assert "file is a file, and a run needs a folder" in nas("run", experiment, "--out", "file").error
    assert "file is a file, and a run needs a folder" in nas("run", experiment, "--out", "file", "--resume").error
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("content")
    assert "full is not empty" in nas("run", experiment, "--out", "full").error
    assert "full is not a run that could be resumed" in nas("run", experiment, "--out", "full", "--resume").error
    assert Path("file").read_text() == "content"
    assert [path.name for path in Path("full").iterdir()] == ["thesis.txt"]


def test_a_run_goes_on_as_the_experiment_that_it_began_with(nas: Command, tmp_path: Path) -> None:
    """The run is one that ended at once, because nothing fits."""
    impossible = small(budgets=[{"name": "fast", "latency": "1 us"}], calibration={"networks": 0})
    experiment = write(tmp_path, impossible)
    assert nas("run", experiment, "--out", "run").code == 3
    before = hashes(Path("run"))
    assert "run is not empty; continue the run in it with --resume" in nas("run", experiment, "--out", "run").error
    error = nas("run", experiment, "--out", "run", "--resume", "--seed", "1").error
    assert "run was begun with another experiment: seed was 0 and is 1" in error
    error = nas("run", experiment, "--out", "run", "--resume", "--set", "winners.epochs=7").error
    assert "winners was" in error and "epochs=7" in error
    assert hashes(Path("run")) == before
    # The same experiment, written otherwise, is the same.
    other = write(tmp_path, {**impossible, "data": "digits", "seed": 0}, "other.yaml")
    assert nas("run", other, "--out", "run", "--resume").code == 3


def test_a_run_goes_on_with_the_data_that_it_began_with(nas: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (600, 1, 8, 8), np.uint8)
    data = _npz(tmp_path, x_train=x, y_train=np.arange(600) % 3)
    experiment = write(
        tmp_path, {**data, "budgets": [{"name": "fast", "latency": "1 us"}], "calibration": {"networks": 0}}
    )
    assert nas("run", experiment, "--out", "run").code == 3
    x[0, 0, 0, 0] ^= 1
    _npz(tmp_path, x_train=x, y_train=np.arange(600) % 3)
    assert "the data are not those this run began with" in nas("run", experiment, "--out", "run", "--resume").error


@pytest.mark.parametrize("prepare", [code_in_a_tag, bare_number, corrupt_image], ids=lambda x: x.__name__)
def test_a_process_of_its_own_says_the_same(prepare: Prepare, tmp_path: Path) -> None:
    experiment = write(tmp_path, prepare(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "nas", "run", experiment, "--out", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("nas: error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists() and not (tmp_path / "marker").exists()


class FullDisk:
    """Has no space left `room` writes after a stage begins, and then takes half of what is written."""

    def __init__(self) -> None:
        self.stage = ""
        self.room = sys.maxsize
        self._left = sys.maxsize
        self._write = run_folder.write_bytes

    def fill(self, stage: str, room: int) -> None:
        """Wait for the beginning of a stage; without one, begin to count at once."""
        self.stage, self.room = stage, room
        self._left = sys.maxsize if stage else room

    def write_bytes(self, descriptor: int, data: bytes) -> None:
        self._left -= 1
        if self._left < 0:
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(descriptor, data)
        if self.stage and f'"event":"begin","stage":"{self.stage}"'.encode() in data:
            self._left = self.room


def test_a_full_disk_at_any_write_costs_nothing_but_time(
    nas: Command, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The disk fills up again and again; after each time room is made and the run goes on."""
    disk = FullDisk()
    monkeypatch.setattr(run_folder, "write_bytes", disk.write_bytes)
    monkeypatch.setattr(verify, "_GAP_S", 0.0)
    experiment = write(tmp_path, small(calibration={"measurements": str(finished / "measurements.jsonl")}))
    run = ["run", experiment, "--out", "run", "--resume"]
    for stage, room in (
        ("", 0), ("", 1), ("", 2), ("calibrate", 0), ("calibrate", 1), ("supernet", 0), ("supernet", 9), ("search", 0),
        ("search", 1), ("search", 2), ("train", 0), ("train", 2), ("train", 7), ("export", 0), ("export", 2),
        ("verify", 0), ("verify", 2), ("test", 0), ("report", 0),
    ):  # fmt: skip
        disk.fill(stage, room)
        error = nas(*run).error
        assert "No space left on device" in error
        assert "nothing was lost: make room or give access, then continue with --resume" in error
    disk.fill("no such stage", 0)
    assert nas(*run).code == 0
    for name in ("trials.jsonl", "front.json"):
        assert Path("run", name).read_bytes() == (finished / name).read_bytes()
    assert not list(Path("run").rglob(".tmp-*"))
