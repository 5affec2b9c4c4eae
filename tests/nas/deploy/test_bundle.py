"""The bundle: it runs where neither this package nor JAX exists, and answers as the network does."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.deploy import thresholds
from nas.deploy.manifest import Manifest, add_scripts, load, write
from nas.deploy.names import THRESHOLDS
from nas.deploy.onnx import export_segments, to_onnx
from nas.deploy.policy import policy_record
from nas.exits.policies import MaxProbability
from nas.process.files import unsealed
from nas.tasks.image_classification.preprocessing import Preprocessing
from tests.nas.deploy.small_networks import PREPROCESSING, random_weights, reference, three_exits

RNG = np.random.default_rng(3)
POLICY = MaxProbability()
IMAGES = RNG.integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)


def score(logits: np.ndarray) -> np.ndarray:
    """How sure answers [n, classes] are."""
    return POLICY.scores({"logits": logits})


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """A folder with everything, and the logits [6, classes] of the three exits."""
    network = three_exits()
    weights = random_weights(network)
    to_onnx(network, weights, tmp_path / "model.onnx")
    segments = export_segments(network, weights, tmp_path)
    scripts = add_scripts(tmp_path, POLICY)
    values = reference(network, weights, {"image": Preprocessing.from_dict(PREPROCESSING).apply(IMAGES)})
    logits = [values[network.ops[index].name] for index in network.exits]
    record = policy_record(POLICY, {})
    write(tmp_path, Manifest(network.key, "model.onnx", segments, PREPROCESSING, record), scripts)
    thresholds.write(tmp_path, network.key, (float(np.median(score(logits[0]))), math.inf))
    np.save(tmp_path / "images.npy", IMAGES)
    return tmp_path, logits


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script isolated (-I), as if this package, JAX and TVM were not there: importing one of them fails."""
    code = (
        "import sys, runpy\n"
        "for name in ('nas', 'search_spaces', 'latency_models', 'hardware_profiles', 'jax', 'onnx', 'tvm', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        f"sys.argv = ['run.py', *{list(arguments)!r}]\n"
        f"runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(folder: Path, *arguments: str) -> str:
    """The one line that is all there is of a call that cannot be answered."""
    done = run(folder, *arguments)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_every_image_leaves_at_its_exit_with_its_class(bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder, logits = bundle
    done = run(folder, str(folder / "images.npy"))
    assert done.stderr == ""
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(IMAGES)
    sure = score(logits[0])
    exits = np.where(sure >= np.median(sure), 0, 2)
    assert set(exits) == {0, 2}
    for number, (line, leave) in enumerate(zip(lines, exits, strict=True)):
        row = logits[leave][number]
        assert line[:2] == [str(number), "abcde"[row.argmax()]]
        assert float(line[2]) == pytest.approx(score(row[None])[0], abs=1e-4)
        assert line[3:5] == ["exit", str(leave)]
        assert float(line[5]) > 0
        assert line[6] == "ms"


def test_one_image_and_channels_last(bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder, _ = bundle
    answers = [line.split()[1:5] for line in run(folder, str(folder / "images.npy")).stdout.splitlines()]
    np.save(folder / "one.npy", IMAGES[2])
    assert [line.split()[1:5] for line in run(folder, str(folder / "one.npy")).stdout.splitlines()] == [answers[2]]
    np.save(folder / "last.npy", np.moveaxis(IMAGES, 1, -1))
    done = run(folder, str(folder / "last.npy"), "--hwc", "--threads", "2")
    assert [line.split()[1:5] for line in done.stdout.splitlines()] == answers
    assert "batch and channels first" in refused(folder, str(folder / "last.npy"))


def test_a_network_for_calls_of_several_samples_answers_the_same(bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder, _ = bundle
    answers = [line.split()[1:5] for line in run(folder, str(folder / "images.npy")).stdout.splitlines()]
    manifest = load(folder)
    network = three_exits()
    segments = export_segments(network, random_weights(network), folder, batch=3)
    write(folder, replace(manifest, exits=segments), add_scripts(folder, POLICY))
    done = run(folder, str(folder / "images.npy"))
    assert done.stderr == ""
    assert [line.split()[1:5] for line in done.stdout.splitlines()] == answers
    assert not list(folder.rglob("__pycache__"))


def test_before_its_thresholds_are_settled_it_answers_at_its_last_exit(bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder, logits = bundle
    (folder / THRESHOLDS).unlink()
    done = run(folder, str(folder / "images.npy"))
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[1:5:2] for line in lines] == [["abcde"[row.argmax()], "exit"] for row in logits[2]], done.stderr
    assert {line[4] for line in lines} == {"2"}


def test_an_exchanged_segment_is_refused(bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder, _ = bundle
    data = bytearray((folder / "exit_1.onnx").read_bytes())
    data[-20] ^= 1
    (folder / "exit_1.onnx").write_bytes(data)
    assert "exit_1.onnx is not the file that was exported" in refused(folder, str(folder / "images.npy"))


@pytest.mark.parametrize("text", ["", "[]", "{}", "\0\0", "nonsense", '{"exits": 3, "preprocessing": []}'])
@pytest.mark.parametrize("name", ["manifest.json", THRESHOLDS])
def test_a_damaged_record_is_one_clear_line(name: str, text: str, bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder, _ = bundle
    (folder / name).write_text(text)
    assert name in refused(folder, str(folder / "images.npy"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exits": []}, "manifest.json"),
        ({"exits": [{}]}, "manifest.json lacks 'takes'"),
        ({"artefacts": {}}, "manifest.json lacks 'exit_0.onnx'"),
        ({"preprocessing": {}}, "manifest.json cannot be used: preprocessing: schema None"),
    ],
)
def test_a_record_that_lacks_something_is_one_clear_line(
    change: dict[str, object], said: str, bundle: tuple[Path, list[np.ndarray]]
) -> None:
    path = bundle[0] / "manifest.json"
    # Without its checksum, as whoever edits leaves it.
    path.write_text(json.dumps(unsealed(json.loads(path.read_text())) | change))
    assert said in refused(bundle[0], str(bundle[0] / "images.npy"))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((0, 3, 8, 8), np.uint8), "it holds no image"),
        (np.zeros(3, np.uint8), "batch and channels first"),
        (np.float32(1.0), "it holds a single number"),
        (np.zeros((2, 1, 8, 8), np.uint8), "batch and channels first"),
        (np.zeros((2, 3, 8, 8), np.int64), "give uint8 or floating point"),
        (np.array(["a picture"]), "batch and channels first"),
    ],
)
def test_arrays_that_are_no_images_are_one_clear_line(
    images: np.ndarray, said: str, bundle: tuple[Path, list[np.ndarray]]
) -> None:
    path = bundle[0] / "others.npy"
    np.save(path, images)
    error = refused(bundle[0], str(path))
    assert str(path) in error and said in error


def test_files_that_hold_no_array_are_one_clear_line(bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder, _ = bundle
    np.savez(folder / "two.npz", a=IMAGES, b=IMAGES)
    assert "two.npz" in refused(folder, str(folder / "two.npz"))
    (folder / "empty.npy").write_bytes(b"")
    assert "empty.npy" in refused(folder, str(folder / "empty.npy"))
    assert "nowhere.npy" in refused(folder, "nowhere.npy")
    assert "--threads 0" in run(folder, str(folder / "images.npy"), "--threads", "0").stderr


def test_the_scripts_are_python_3_8(tmp_path: Path) -> None:
    for name in add_scripts(tmp_path, POLICY):
        ast.parse((tmp_path / name).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("name", ["manifest.json", THRESHOLDS])
def test_a_changed_digit_of_what_stands_in_the_folder_is_seen(name: str, bundle: tuple[Path, list[np.ndarray]]) -> None:
    folder = bundle[0]
    text = (folder / name).read_text()
    place = next(place for place in range(len(text) // 2, len(text)) if text[place].isdigit())
    (folder / name).write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    assert f"{name} cannot be used: it is not what was written" in refused(folder, str(folder / "images.npy"))


@pytest.mark.parametrize("name", ["manifest.json", THRESHOLDS])
def test_brackets_without_end_are_no_file_of_a_bundle(name: str, bundle: tuple[Path, list[np.ndarray]]) -> None:
    (bundle[0] / name).write_text("[" * 100_000)
    assert f"{name} cannot be used: " in refused(bundle[0], str(bundle[0] / "images.npy"))


@pytest.mark.parametrize(
    "change", [{"exits.0.outputs": ["nothing"]}, {"exits.0.outputs": [1]}, {"preprocessing.class_names": ["one"]}]
)
def test_a_manifest_that_segments_do_not_fit_is_refused(
    change: dict[str, Any], bundle: tuple[Path, list[np.ndarray]]
) -> None:
    path = bundle[0] / "manifest.json"
    record: Any = unsealed(json.loads(path.read_text()))
    for key, value in change.items():
        holder, (*steps, last) = record, key.split(".")
        for step in steps:
            holder = holder[int(step) if step.isdigit() else step]
        holder[last] = value
    path.write_text(json.dumps(record))
    assert "manifest.json cannot be used: " in refused(bundle[0], str(bundle[0] / "images.npy"))


def test_a_damaged_head_of_an_array_is_one_line(bundle: tuple[Path, list[np.ndarray]]) -> None:
    content = (bundle[0] / "images.npy").read_bytes()
    place = content.index(b")")
    (bundle[0] / "images.npy").write_bytes(content[:place] + b"9" + content[place + 1 :])
    assert "images.npy cannot be used: " in refused(bundle[0], str(bundle[0] / "images.npy"))
