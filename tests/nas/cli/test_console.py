"""Standard output that is not there, goes away, or has too few letters."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = (sys.executable, "-P", "-m", "nas", "devices")


@pytest.mark.parametrize("closed", [">&-", "2>&- >&-", "<&-", "| true", "2>&1 | true"])
def test_a_stream_that_is_closed_or_goes_away_is_no_error(closed: str) -> None:
    line = f"set -o pipefail; {' '.join(COMMAND)} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0 and not done.stderr


def test_letters_that_the_terminal_lacks_are_written_as_numbers() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "no-é-such"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and done.stderr.startswith("nas: error: no device profile is called 'no-\\xe9-such'")
