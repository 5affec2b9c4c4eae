"""Files of a run of which a bit is another: named before anything goes on with them, and on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InputError
from nas.run.latency import load_tables
from nas.run.layout import RunFiles
from nas.run.soundness import damages, require_sound
from tests.nas.opened_runs import opened
from tests.nas.small_runs import SMALL, Command, hashes, write

FILES = (
    "experiment.yaml", "environment.json", "measurements.jsonl", "trials.jsonl", "front.json", "unmet.json",
    "verify.json", "test.json", "latency_model.npz", "supernet.safetensors", "winners/mean/architecture.json",
    "winners/mean/scores.npz", "winners/mean/weights.safetensors", "lengths.json",
)  # fmt: skip


def spoil(path: Path, how: str) -> None:
    """Damage a file: half of it, other bytes, or a digit or letter in the middle that is another one."""
    content = path.read_bytes()
    if how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "garbage":
        path.write_bytes(bytes(range(128, 256)) * 9)
    else:
        places = [place for place, byte in enumerate(content) if bytes([byte]).isalnum()]
        place = places[len(places) // 2] if path.suffix in (".json", ".jsonl", ".yaml") else len(content) // 2
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["half", "garbage", "bit"])
def test_what_is_not_what_was_written_is_named(name: str, how: str, run: Path) -> None:
    path = run / name
    if name == "unmet.json" and how == "bit":
        pytest.skip("it holds nothing but its checksum")
    require_sound(RunFiles(run))
    spoil(path, how)
    if how == "half" and name == "experiment.yaml":
        return
    if name == "latency_model.npz" and how == "garbage":
        # It could be what somebody's own model writes; whoever reads it is told.
        with opened(run) as context, pytest.raises(InputError, match=path.name):
            load_tables(context)
        return
    with pytest.raises(InputError, match=path.name):
        require_sound(RunFiles(run))
    assert [at for at, _ in damages(RunFiles(run))] == [path]


@pytest.mark.parametrize("command", ["run", "search", "train", "export", "verify"])
def test_no_command_goes_on_with_it(command: str, run: Path, nas: Command) -> None:
    spoil(run / "front.json", "bit")
    file = write(run.parent, SMALL)
    given = (file, "--out", str(run), "--resume") if command in ("run", "search") else (str(run),)
    error = nas(command, *given).error
    assert "front.json cannot be read" in error and "delete it, and the search ends again" in error


@pytest.mark.parametrize("name", ["trials.jsonl", "measurements.jsonl", "log.jsonl"])
def test_a_log_that_lost_a_line_is_named_and_nothing_goes_on_with_it(name: str, run: Path, nas: Command) -> None:
    lines = (run / name).read_bytes().splitlines(keepends=True)
    (run / name).write_bytes(b"".join(lines[:1] + lines[2:]))
    before = hashes(run)
    for command in (
        ("run", write(run.parent, SMALL), "--out", str(run), "--resume"),
        ("verify", str(run)),
        ("export", str(run)),
    ):
        error = nas(*command).error
        assert error.startswith(f"{run / name}, line 2 is what was written as line 3: 1 before it are missing")
    assert hashes(run) == before
    assert [path for path, _ in damages(RunFiles(run))] == [run / name]


def test_a_page_says_what_is_damaged_or_not_what_was_verified(run: Path, nas: Command) -> None:
    spoil(run / "winners/mean/weights.safetensors", "bit")
    (run / "winners/worst/exit_0.onnx").unlink()
    assert nas("report", str(run)).code == 0
    problems = (run / "report.html").read_text().partition('<aside class="problems">')[2].partition("</aside>")[0]
    assert "winners/mean/weights.safetensors cannot be read" in problems
    assert "winners/worst is not what was verified: exit_0.onnx is missing" in problems


def test_what_is_edited_on_purpose_counts_as_it_is(run: Path) -> None:
    for name in ("experiment.yaml", "environment.json"):
        lines = (run / name).read_text().splitlines()
        kept = [line for line in lines if "crc32" not in line and "CRC-32" not in line]
        assert len(kept) == len(lines) - 1
        text = "\n".join(kept)
        (run / name).write_text(
            text.replace("},\n}", "}\n}") if name.endswith("yaml") else text.rstrip("\n},") + "}\n}"
        )
    require_sound(RunFiles(run))


@pytest.mark.parametrize("name", ["trials.jsonl", "measurements.jsonl", "front.json", "verify.json"])
@pytest.mark.parametrize("letter", range(6))
def test_a_checksum_whose_name_is_spoilt_is_missed(name: str, letter: int, run: Path) -> None:
    """A record without a checksum counts as it is, so its name must not be lost."""
    path = run / name
    content = path.read_bytes()
    place = content.rindex(b"@crc32") + letter
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match=path.name):
        require_sound(RunFiles(run))
