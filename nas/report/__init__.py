"""The report of a run: one page that shows whether the budgets are kept, and the evidence."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from nas.process.files import atomic_write_text
from nas.report import page, reading, words
from search_spaces.slots import SearchSpace

REPORT = "report.html"
#: The functions of `words` that the template uses.
_FILTERS = (
    "seconds", "duration", "percent", "signed_percent", "percent_range", "count", "size", "energy", "small", "times",
    "plural", "runtime",
)  # fmt: skip


def write_report(folder: Path, space: SearchSpace) -> Path:
    """Write RUN/report.html from whatever the run's folder holds, and return its path.

    The page is one file that loads nothing else. A run that ended early, or one with files that cannot be read, gets a
    page that says so. Raises InputError for a folder that does not exist or cannot be written.
    """
    path = folder / REPORT
    atomic_write_text(path, render(page.build(reading.read(folder, space), space)))
    return path


def render(content: page.Page) -> str:
    """The page as HTML."""
    return _template().render(page=content, run=content.run, style=Markup(_resource("report.css")))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {name: getattr(words, name) for name in _FILTERS}
    return environment.from_string(_resource("report.html"))


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
