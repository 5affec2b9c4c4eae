"""What the documents hold: blocks, tables, and the commands that they show; read from the files themselves."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
#: What the blocks of a document may be in; every line of a `console` block is a command.
LANGUAGES = ("console", "python", "text", "yaml")

# Blocks within lists are indented.
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")
_CODE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"[a-z][\w./-]* \S.*")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block; `name` is the file that its first line says it is, if it does."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        found = _FILE_NAME.match(self.text)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Shown:
    """Commands that a page shows together: the lines of a block, or one within a sentence."""

    page: Path
    line: int
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(language: str | None = None) -> list[CodeBlock]:
    return [
        CodeBlock(page, _line(page.read_text(), found.start()), found[2], textwrap.dedent(found[3]))
        for page in PAGES
        for found in _FENCE.finditer(page.read_text())
        if language in (None, found[2])
    ]


def prose(page: Path) -> str:
    """The text of a page, with empty lines for its fenced blocks."""
    return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text())


def sections(page: str) -> dict[str, str]:
    """The text under each heading of a page, fenced blocks left out."""
    _, *parts = re.split(r"^#+ (.+)\n", prose(ROOT / "docs" / page), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without their headers."""
    lines = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    rules = [number for number, line in enumerate(lines) if set("".join(line)) <= set("-|")]
    return [line for number, line in enumerate(lines) if number not in rules and number + 1 not in rules]


def names_in(text: str) -> list[str]:
    """What is set as code within a text."""
    return _CODE.findall(text)


def shown() -> list[Shown]:
    """All commands of all pages; what is shown again elsewhere is there once.

    Within a sentence a command is code that begins with a word of lower case and goes on after a space.
    """
    found = [Shown(b.page, b.line, tuple(filter(None, b.text.splitlines()))) for b in blocks("console")]
    for page in PAGES:
        text = prose(page)
        found += [
            Shown(page, _line(text, code.start()), (code[1],))
            for code in _CODE.finditer(text)
            if _COMMAND.fullmatch(code[1])
        ]
    return list({each.commands: each for each in reversed(found)}.values())[::-1]


def write_files(page: str, folder: Path) -> None:
    """Write the blocks of a page that are whole files into a folder."""
    for block in blocks():
        if block.page.name == page and block.name:
            path = folder / block.name
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text)


def _line(text: str, position: int) -> int:
    return text[:position].count("\n") + 1
