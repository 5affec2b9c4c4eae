"""What `nas profile` does not measure, and what it does not go on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import hardware_profiles
from nas.process.files import unsealed
from tests.nas.cli.profiles import ARGUMENTS, FOLDER, elsewhere
from tests.nas.small_runs import Command, hashes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rpi4b", *ARGUMENTS), "the name 'rpi4b' is that of a shipped device, rpi4b; choose another"),
        (("raspi4", *ARGUMENTS), "the name 'raspi4' is that of a shipped device, rpi4b"),
        (("host", *ARGUMENTS), "the name 'host' is this machine as it is"),
        (("My-Board", *ARGUMENTS), "the name 'My-Board' cannot be that of a device"),
        (("../x", *ARGUMENTS), "the name '../x' cannot be that of a device"),
        (("bench", *ARGUMENTS, "--networks", "2"), "--networks 2: at least 3 are needed"),
        (("bench", *ARGUMENTS, "--threads", "4096"), "--threads 4096: this process may use"),
        (("bench", *ARGUMENTS, "--threads", "0"), "target threads is 0"),
        (("bench", *ARGUMENTS, "--batch", "-1"), "target batch is -1"),
        (("bench", *ARGUMENTS, "--input", "8x8"), "--input '8x8': write channels, height and width"),
        (("bench", *ARGUMENTS, "--table", "8x8"), "--table 8x8: the space toy has no tables"),
        (("bench", *ARGUMENTS, "--classes", "1"), "--classes 1: classifying needs at least 2"),
        (("bench", *ARGUMENTS, "--space", "mobil"), "did you mean 'mobile'?"),
        (("bench", "--runner", "onnxruntime", "--table", "9x9"), "space mobile has no table '9x9'"),
        (("bench", "--runner", "onnxruntime", "--table", "nine"), "--table 'nine': write height and width"),
        (("bench", *ARGUMENTS, "--out", "file"), "file"),
    ],
)
def test_what_cannot_be_profiled_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, nas: Command
) -> None:
    Path("file").write_text("content")
    assert message in nas("profile", *arguments).error
    assert hashes(Path()).keys() == {"file"}


def test_another_beginning_is_refused(profiled: Path, nas: Command) -> None:
    before = hashes(profiled)
    assert "was begun with seed 0, now it is 1; delete " in nas("profile", "bench", *ARGUMENTS, "--seed", "1").error
    assert "was begun with classes 4, now it is 7" in nas("profile", "bench", *ARGUMENTS, "--classes", "7").error
    assert hashes(profiled) == before


def test_onnxruntime_and_the_table_of_the_input_need_not_be_named(nas: Command, quick: None) -> None:
    plain = ("--networks", "3", "--input", "1x8x8")
    assert "3 readings taken" in nas("profile", "bench", *plain).out
    for named in (("--runner", "onnxruntime"), ("--table", "8x8"), ("--runner", "onnxruntime", "--table", "8x8")):
        assert "nothing was measured" in nas("profile", "bench", *plain, *named).out
    assert nas("profile", "other", *plain, "--table", "8x8").code == 0
    assert "nothing was measured" in nas("profile", "other", *plain).out


def test_readings_of_another_runtime_are_not_continued(profiled: Path, nas: Command) -> None:
    path = FOLDER / "readings.jsonl"
    head, *lines = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**unsealed(json.loads(head)), "runtime": "onnxruntime 0.1"}) + "\n" + "".join(lines))
    assert "was measured with onnxruntime 0.1, here is onnxruntime " in nas("profile", "bench", *ARGUMENTS).error


def test_a_profile_of_another_machine_is_not_continued(profiled: Path, nas: Command) -> None:
    elsewhere(Path("hardware_profiles/bench.yaml"))
    error = nas("profile", "bench", *ARGUMENTS).error
    assert "was measured on another machine (cores is 640, here " in error and "choose another name" in error


def test_a_profile_that_somebody_wrote_is_not_overwritten(nas: Command) -> None:
    Path("hardware_profiles").mkdir()
    shipped = hardware_profiles.load("rpi5").to_dict()
    path = Path("hardware_profiles/bench.yaml")
    path.write_text(yaml.safe_dump({**shipped, "id": "bench", "aliases": []}))
    before = path.read_bytes()
    assert "is there already and was not made by `nas profile`" in nas("profile", "bench", *ARGUMENTS).error
    assert path.read_bytes() == before and not FOLDER.exists()


def test_damaged_readings_are_said_to_be(profiled: Path, nas: Command) -> None:
    path = FOLDER / "readings.jsonl"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    assert "readings.jsonl, line 1 is not JSON" in nas("profile", "bench", *ARGUMENTS).error
