"""The manifest: what it says, that it notices exchanged files, and that nothing outside of the folder is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import nas
from nas.deploy import thresholds
from nas.deploy.manifest import Manifest, add_scripts, differences, load, require_as_exported, write
from nas.deploy.names import MANIFEST, THRESHOLDS
from nas.deploy.onnx import export_segments, to_onnx
from nas.deploy.policy import policy_record
from nas.errors import InputError
from nas.exits.policies import MaxProbability
from nas.process.files import CHECKSUM, unsealed
from tests.nas.deploy.small_networks import PREPROCESSING, random_weights, three_exits


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    network = three_exits()
    weights = random_weights(network)
    to_onnx(network, weights, tmp_path / "model.onnx")
    segments = export_segments(network, weights, tmp_path)
    (tmp_path / "host-tvm").mkdir()
    (tmp_path / "host-tvm" / "exit_0.so").write_bytes(b"library")
    return Manifest(
        architecture=network.key,
        model="model.onnx",
        exits=segments,
        preprocessing=PREPROCESSING,
        policy=policy_record(MaxProbability(), {}),
        targets=({"device": "host", "runner": "onnxruntime"},),
        budgets=({"budget_s": 0.008},),
        libraries={"host-tvm": ("host-tvm/exit_0.so",)},
    )


def test_what_is_written_is_what_is_read(manifest: Manifest, tmp_path: Path) -> None:
    scripts = add_scripts(tmp_path, MaxProbability())
    written = write(tmp_path, manifest, scripts)
    read = load(tmp_path)
    assert read == replace(written, preprocessing=PREPROCESSING)
    assert set(read.artefacts) == {
        "model.onnx", "exit_0.onnx", "exit_1.onnx", "exit_2.onnx", "host-tvm/exit_0.so", *scripts
    }  # fmt: skip
    assert read.tools["hwnas"] == nas.__version__
    assert {"onnx", "onnxruntime", "numpy", "jax"} <= set(read.tools)
    assert differences(tmp_path, read) == ()


def test_the_same_export_gives_the_same_manifest(manifest: Manifest, tmp_path: Path) -> None:
    write(tmp_path, manifest)
    before = (tmp_path / MANIFEST).read_bytes()
    write(tmp_path, load(tmp_path))
    assert (tmp_path / MANIFEST).read_bytes() == before


def test_files_that_were_exchanged_are_found(manifest: Manifest, tmp_path: Path) -> None:
    written = write(tmp_path, manifest)
    model = bytearray((tmp_path / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(model)
    (tmp_path / "exit_0.onnx").write_bytes(b"shorter")
    (tmp_path / "exit_1.onnx").unlink()
    found = differences(tmp_path, written)
    assert len(found) == 3
    assert any("model.onnx has another SHA-256" in sentence for sentence in found)
    assert any("exit_0.onnx has 7 bytes" in sentence for sentence in found)
    assert any("exit_1.onnx is missing" in sentence for sentence in found)


def test_a_file_without_a_hash_is_no_proof(manifest: Manifest, tmp_path: Path) -> None:
    written = write(tmp_path, manifest)
    stripped = replace(written, artefacts={k: v for k, v in written.artefacts.items() if k != "model.onnx"})
    assert differences(tmp_path, stripped) == ("model.onnx has no hash in manifest.json",)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b"])
def test_names_stay_in_the_folder(manifest: Manifest, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="outside of its folder"):
        write(tmp_path, replace(manifest, model=name))
    written = write(tmp_path, manifest)
    with pytest.raises(InputError, match="outside of its folder"):
        differences(tmp_path, replace(written, artefacts={name: {"sha256": "", "bytes": 0}}))


def test_mistakes_are_named(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="export the network first"):
        load(tmp_path)
    with pytest.raises(InputError, match=r"names nothing\.onnx, which is not in"):
        write(tmp_path, replace(manifest, model="nothing.onnx"))
    path = tmp_path / MANIFEST
    path.write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)
    path.write_text('{"schema": 99}')
    with pytest.raises(InputError, match="has schema 99"):
        load(tmp_path)
    write(tmp_path, manifest)
    record = json.loads(path.read_text())
    del record["exits"][1]["takes"], record[CHECKSUM]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="lacks 'takes'"):
        load(tmp_path)


def test_only_what_was_exported_is_let_through(manifest: Manifest, tmp_path: Path) -> None:
    written = write(tmp_path, manifest)
    assert require_as_exported(tmp_path, "nas export RUN").artefacts == written.artefacts
    (tmp_path / "exit_1.onnx").write_bytes(b"another network")
    (tmp_path / "exit_2.onnx").unlink()
    with pytest.raises(InputError, match=r"exit_1\.onnx has 15 bytes.*exit_2\.onnx is missing.*`nas export RUN`"):
        require_as_exported(tmp_path, "nas export RUN")


def test_thresholds_are_a_file_of_their_own(manifest: Manifest, tmp_path: Path) -> None:
    write(tmp_path, manifest)
    with pytest.raises(InputError, match="`nas verify`"):
        thresholds.read(tmp_path, manifest.architecture, 3)
    thresholds.write(tmp_path, manifest.architecture, (0.9, math.inf))
    # JSON knows no infinity; an exit that never answers has no threshold.
    assert json.loads((tmp_path / THRESHOLDS).read_text())["thresholds"] == [0.9, None]
    assert thresholds.read(tmp_path, manifest.architecture, 3) == (0.9, math.inf)


def test_a_manifest_of_the_first_release_opens_and_has_to_be_written_anew(manifest: Manifest, tmp_path: Path) -> None:
    write(tmp_path, manifest)
    record = unsealed(json.loads((tmp_path / MANIFEST).read_text())) | {"schema": 1, "thresholds": [0.9, None]}
    (tmp_path / MANIFEST).write_text(json.dumps(record))
    assert load(tmp_path).architecture == manifest.architecture
    assert thresholds.read(tmp_path, manifest.architecture, 3) == (0.9, math.inf)
    with pytest.raises(InputError, match="older release"):
        require_as_exported(tmp_path, "nas export RUN")


def test_thresholds_of_another_network_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    write(tmp_path, manifest)
    thresholds.write(tmp_path, manifest.architecture, (0.9,))
    with pytest.raises(InputError, match="thresholds of another network"):
        thresholds.read(tmp_path, manifest.architecture, 3)
    thresholds.write(tmp_path, "0" * 64, (0.9, 0.8))
    with pytest.raises(InputError, match="thresholds of another network"):
        thresholds.read(tmp_path, manifest.architecture, 3)


@pytest.mark.parametrize("text", ["null", "[]", '{"schema": 3, "exits": 3}', '{"schema": 3, "artefacts": {"a": 1}}'])
def test_a_manifest_of_anything_else_is_one_error(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=MANIFEST):
        load(tmp_path)
