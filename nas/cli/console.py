"""What commands print with."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from nas.process.streams import lose

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> Console:
    """A console on standard output that shows text as it stands.

    Names, sources and statements come from others: square brackets in them are no markup, and `:name:` is no emoji.
    Style is given beside the text, as an argument or as `rich.text.Text`; the stages, whose console may be another,
    print `Text` alone.
    """
    from rich.console import Console

    class Lasting(Console):
        def on_broken_pipe(self) -> None:
            """A reader that went away stops no run: what is printed from here on goes nowhere."""
            self.quiet = True
            with contextlib.suppress(OSError, ValueError):  # no descriptor of its own
                lose(self.file.fileno())

    # No line is broken: paths and genomes are there to be copied. Tables in a file or a pipe have room.
    console = Lasting(markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not console.file.isatty() and "COLUMNS" not in os.environ:
        console.width = 160
    return console
