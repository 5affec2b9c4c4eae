"""Experiments that are malformed, each in its own way, and what has to be said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.nas.small_runs import small

Prepare = Callable[[Path], dict[str, Any] | str]

_SOUND = "name: x\ndata: digits\ntarget: {device: host, runner: onnxruntime}\nbudgets: [{latency: 8 ms}]\n"


def npz(folder: Path, **changes: np.ndarray[Any, Any]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.random((60, 1, 8, 8), np.float32), "y_train": np.arange(60) % 3, **changes}
    np.savez(folder / "data.npz", **arrays)
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


def unknown_runner(folder: Path) -> dict[str, Any]:
    return small(target={"device": "host", "runner": "tflite"})


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


def maybe(folder: Path) -> str:
    return _SOUND + "supernet: {augment: !!bool maybe}\n"


def timestamp(folder: Path) -> str:
    return _SOUND + "supernet: {augment: !!timestamp nope}\n"


def huge(folder: Path) -> dict[str, Any]:
    return small(budgets=[{"latency": 10**400}])


def code_in_a_name(folder: Path) -> dict[str, Any]:
    return small(data={"name": "os:system", "command": f"touch {folder}/marker"})


def no_data_file(folder: Path) -> dict[str, Any]:
    return small(data={"name": "npz", "path": str(folder / "nothing.npz")})


def nan_in_data(folder: Path) -> dict[str, Any]:
    x = np.zeros((60, 1, 8, 8), np.float32)
    x[7, 0, 3, 3] = np.nan
    return npz(folder, x_train=x)


def labels_do_not_fit(folder: Path) -> dict[str, Any]:
    return npz(folder, y_train=np.arange(59) % 3)


def pickled_data(folder: Path) -> dict[str, Any]:
    return npz(folder, y_train=np.array([object()] * 60))


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
    (unknown_runner, "there is no target.runner 'tflite'"),
    (duplicate_key, "line 6: the key 'seed' is given twice"),
    (alias, "line 6: the alias *a has to be written out"),
    (bottomless, "nested too deeply"),
    (not_yaml, "line 6: "),
    (only_text, "must hold keys and values, such as `name: quickstart`"),
    (empty_file, "must hold keys and values"),
    (code_in_a_tag, "line 5: the tag !!python/object/apply:os.system has to be left out"),
    (maybe, "line 5: the tag !!bool has to be left out"),
    (timestamp, "line 5: the tag !!timestamp has to be left out"),
    (huge, "budgets[0].latency of 100000000000000000...0000000000000000000 is impossible"),
    (code_in_a_name, "data.name: 'os:system' is code of the module 'os', which nobody allowed to run"),
    (no_data_file, "nothing.npz: no such file. Expected np.savez(path, x_train=..., y_train=...)"),
    (nan_in_data, "1 values in 1 images are NaN or infinite, the first at image 7, channel 0, row 3, column 3"),
    (labels_do_not_fit, "y_train has 59 labels, x_train 60 images"),
    (pickled_data, "is no .npz of plain arrays"),
    (empty_image_folder, "classifying needs at least two"),
    (corrupt_image, "1.png: is no image or a damaged one"),
    (truncated_idx, "the header says 20 x 28 x 28 = 15680 values, the file holds 15679; it is truncated"),
    (batch_too_large, "supernet.batch_size is 5000, but only 1063 images are left to train on"),
    (no_readings, "no.jsonl"),
    (a_space_that_does_not_fit, "space mobile has no table '9x9'"),
)
