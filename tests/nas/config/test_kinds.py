"""A new kind of component is one line: a made-up one, with its registry, named in settings of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from hardware_profiles import Target
from nas.config import dump, parse
from nas.config.component import ComponentSpec
from nas.config.kinds import Default, Kind
from nas.config.plugins import granted
from nas.config.units import Seconds
from nas.errors import InputError

BELLS = {"small": f"{__name__}:Small", "large": f"{__name__}:Large"}
BELL = Kind("bell", f"{__name__}:BELLS", ("target",), given_if_taken=("voice",))
OURS = granted([__name__])


@dataclass(frozen=True)
class Small:
    target: Target
    every_s: Seconds = 1.0


@dataclass(frozen=True)
class Large:
    target: Target
    voice: str = "deep"
    weight: int = 3


def no_bell(loudness: int) -> None: ...


@dataclass(frozen=True)
class Tower:
    bell: Annotated[ComponentSpec, BELL, Default("large")]
    second: Annotated[ComponentSpec, BELL] | None = None
    height: Annotated[int, Default(lambda written: len(written))] = 0


def tower(**data: Any) -> Tower:
    made: Tower = parse.build(Tower, data, "tower", OURS)
    return made


def refusal(**data: Any) -> str:
    with pytest.raises(InputError) as caught:
        tower(**data)
    return str(caught.value)


def test_a_field_says_its_kind_and_the_kind_its_names_and_keys() -> None:
    made = tower(bell={"name": "small", "every": "20 ms"}, second=f"{__name__}:Large")
    assert made.bell == ComponentSpec("small", BELLS["small"], {"every_s": 0.02})
    assert made.second is not None and made.second.arguments == {"weight": 3}
    target = Target("host", "onnxruntime")
    assert made.bell.load()(target, **made.bell.arguments) == Small(target, 0.02)
    assert dump.plain(made)["bell"] == {"name": "small", "every": "0.02 s"}


def test_what_is_left_out_is_what_the_field_says() -> None:
    assert tower().bell.name == "large" and tower().second is None and tower().height == 0
    assert tower(second=None).height == 1 and tower(second=None, height=9).height == 9


def test_what_is_refused_is_said_in_the_words_of_the_kind() -> None:
    assert refusal(bell="smal") == (
        "tower.bell.name: there is no bell 'smal'; did you mean 'small'? Known: large, small; "
        "your own is named as `module:name`"
    )
    assert "tower.second.name: " + f"{__name__}:no_bell is no bell: it has no parameter 'target'" in refusal(
        second=f"{__name__}:no_bell"
    )
    for given in ("target", "voice"):
        assert f"tower.bell.{given}: large has no key {given!r}. Its keys: weight" in refusal(
            bell={"name": "large", given: "x"}
        )
