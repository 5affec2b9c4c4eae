"""What a YAML file says as plain data: mappings, lists, texts, numbers, and nothing that is executed or expanded.

Aliases, tags and keys given twice are refused; so is a file larger than any that a person writes. libyaml is not used:
it ends the process where brackets stand deep in one another.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import yaml

#: PyYAML reads some hundred kilobytes a second.
MOST_CHARACTERS: Final = 2**18
#: Python writes no whole number with more than 4,300 digits, so that none could be shown; nobody means one of these.
_MOST_DIGITS: Final = 1000


class PlainLoader(yaml.SafeLoader):
    """Refuses what is not written out: aliases, tags, keys given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # without annotations in PyYAML's stubs
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(None, None, f"the alias *{event.anchor} has to be written out", event.start_mark)
        if tag := getattr(event, "tag", None):
            # SafeLoader knows some, and trips over what cannot be of that type.
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            raise yaml.MarkedYAMLError(None, None, f"the tag {shown} has to be left out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _MOST_DIGITS:
            problem = (
                f"the number {node.value[:20]}... has {len(node.value):,} digits, and {_MOST_DIGITS:,} are the most"
            )
            raise yaml.MarkedYAMLError(None, None, problem, node.start_mark)
        return super().construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Hashable] = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.MarkedYAMLError(None, None, f"the key {key!r} is given twice", name.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


PlainLoader.add_constructor("tag:yaml.org,2002:int", PlainLoader.construct_yaml_int)


def load(text: str, loader: type[PlainLoader] = PlainLoader) -> Any:
    """What a text says; raises ValueError with line and reason for anything that is not plain data."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, and {MOST_CHARACTERS:,} are the most that are read")
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "this is not valid YAML"
        raise ValueError(f"{where}{reason}; this has to be plain data, without tags or code") from error
    except RecursionError:
        raise ValueError("this is nested too deeply to be plain data") from None
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        # What looks like a date or a number and is none.
        raise ValueError(f"a value cannot be read: {error}") from error
