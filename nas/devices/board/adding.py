"""Making a board known: it is reached once, says what it is, and is noted with a profile of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import yaml

from hardware_profiles import DeviceProfile
from hardware_profiles import load as load_profile
from hardware_profiles.registry import own_files, read, user_folder
from hardware_profiles.schema import parse
from nas.devices.base import DeviceLost
from nas.devices.board import addresses
from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection
from nas.errors import InputError
from nas.process.files import atomic_write_text

#: What runs networks there, in the order in which it is looked for.
_RUNNERS: Final = ("onnxruntime", "tvm")


@dataclass(frozen=True)
class Added:
    """A board that answered: its profile, what it said of itself, and the runtimes that it has."""

    profile: DeviceProfile
    facts: Mapping[str, Any]
    runtimes: tuple[str, ...]


def add(name: str, address: Address, like: str | None) -> Added:
    """Reach a board, and note where it is and what; `like` names a profile that describes it, None: it is measured.

    Raises InputError where it does not answer, has no runtime, or is another machine than that of the name before.
    """
    addresses.known()  # a file that cannot be read is said before the board is reached
    profile = None if like is None else load_profile(like)
    made = Connection(name, address)
    try:
        facts = made.answered(lambda: made.ask("facts", measure=profile is None, runner=""))
        runtimes = _runtimes(made)
    except DeviceLost as error:
        raise InputError(str(error)) from None
    finally:
        made.close()
    identity = facts["identity"]
    if profile is None:
        profile = parse({**facts["profile"], "id": name}, name)
    aliases = _free(profile.aliases, {path.stem for path in own_files()}) if profile.id == name else ()
    profile = replace(profile, id=name, aliases=aliases, machine=identity)
    with addresses.held() as known:
        if name in known and known[name].identity != identity:
            raise InputError(
                f"{name} was added as another machine ({_words(known[name].identity)}), and this is "
                f"{_words(identity)}; give it another name, or take that one out with `nas devices remove {name}`"
            )
        for other in known.keys() - {name}:
            # What a board that is described by a shipped profile was called too names this one from now on.
            path = user_folder() / f"{other}.yaml"
            if path.exists() and (found := read(path)).aliases != (left := _free(found.aliases, {name})):
                _write(replace(found, aliases=left))
        _write(profile)
        addresses.write({**known, name: replace(address, identity=identity)})
    return Added(profile, facts, runtimes)


def _free(aliases: Sequence[str], taken: Collection[str]) -> tuple[str, ...]:
    return tuple(alias for alias in aliases if alias not in taken)


def _write(profile: DeviceProfile) -> None:
    text = yaml.safe_dump(profile.to_dict(), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    path = user_folder() / f"{profile.id}.yaml"
    atomic_write_text(path, f"# Written by `nas devices add {profile.id}`.\n{text}")


def remove(name: str) -> None:
    """Forget a board; raises InputError where there is none of that name."""
    _require(name, addresses.known())  # nothing is written for a name that is unknown
    with addresses.held() as known:
        _require(name, known)
        addresses.write({other: address for other, address in known.items() if other != name})
        (user_folder() / f"{name}.yaml").unlink(missing_ok=True)


def _require(name: str, known: Mapping[str, Address]) -> None:
    if name not in known:
        others = f"known: {', '.join(sorted(known))}" if known else "there are none yet"
        raise InputError(f"no board is called {name!r}; {others}")


def _runtimes(made: Connection) -> tuple[str, ...]:
    """Names and versions of what runs networks there; raises DeviceLost where there is nothing."""
    found, missing = [], []
    for runner in _RUNNERS:
        try:
            facts = made.answered(partial(made.ask, "facts", measure=False, runner=runner))
            found.append(str(facts["runtime"]))
        except DeviceLost as error:
            missing.append(error)
    if not found:
        raise missing[0]
    return tuple(found)


def _words(identity: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in identity.items())
