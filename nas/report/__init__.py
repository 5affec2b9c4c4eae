"""The report of a run: one page that shows whether the budgets are kept, and the evidence."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from nas.process.files import atomic_write_text
from nas.report import formatting, reading, view_model
from nas.run.layout import RunFiles
from nas.run.verdict import exit_label
from search_spaces.slots import SearchSpace

#: The functions of `formatting` that the template uses.
_FILTERS = (
    "seconds", "duration", "percent", "signed_percent", "percent_range", "count", "size", "energy", "small", "times",
    "plural", "runtime", "value",
)  # fmt: skip

#: The head and the foot of all pages, which a template extends.
_FRAME = "frame.html"


def write_report(folder: Path, space: SearchSpace) -> Path:
    """Write the page of a run from whatever the run's folder holds, and return its path.

    The page is one file that loads nothing else. A run that ended early, or one with files that cannot be read, gets a
    page that says so. Raises InputError for a folder that does not exist or cannot be written.
    """
    path = RunFiles(folder).report
    atomic_write_text(path, render(view_model.build(reading.read(folder, space), space)))
    return path


def render(content: view_model.ViewModel) -> str:
    """The page as HTML."""
    return template(_resource("page.html")).render(page=content, run=content.run, style=style())


@cache
def template(text: str) -> jinja2.Template:
    """A page's template, with the filters that all pages have; what it is given is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({_FRAME: _resource(_FRAME)}), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["exit_label"] = exit_label
    environment.filters |= {name: getattr(formatting, name) for name in _FILTERS}
    return environment.from_string(text)


def style() -> Markup:
    """The style sheet that all pages have."""
    return Markup(_resource("page.css"))


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
