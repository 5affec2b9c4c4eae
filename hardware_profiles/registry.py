"""Finding a device by id, alias or file. The registry is the folder: a new device is one more YAML file."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hardware_profiles.profile import HOST, DeviceProfile, ProfileError
from hardware_profiles.schema import nearest, parse

SHIPPED = Path(__file__).parent / "devices"
#: Where a user's own profiles lie beside the working directory; the others are in `user_folder`.
HERE = "./hardware_profiles"


def user_folder() -> Path:
    """Where the profiles of a user's boards lie: `hwnas/devices` in `$XDG_CONFIG_HOME` or `~/.config`."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "hwnas" / "devices"


def load(name_or_path: str | Path, search: Sequence[str | Path] | None = None) -> DeviceProfile:
    """The profile with this id or alias (upper and lower case, '-', '_' and blanks are alike), or in this file.

    Folders in `search` hold a user's own `<id>.yaml` files and come before the shipped ones; None is
    `./hardware_profiles`, then `user_folder`. "host" is this machine, detected and measured once per process. Raises
    ProfileError for an unknown name (with the nearest known ones), for an alias that two profiles claim and for a bad
    file.
    """
    path = locate(name_or_path, search)
    return _detected_host() if path is None else read(path)


def locate(name_or_path: str | Path, search: Sequence[str | Path] | None = None) -> Path | None:
    """The file that `load` reads, None for "host"; raises ProfileError as `load` does, but for a bad file."""
    if isinstance(name_or_path, Path) or name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    name = _plain(name_or_path)
    if name == HOST:
        return None
    own = own_files(search)
    shipped = sorted(SHIPPED.glob("*.yaml"))
    for path in own + shipped:
        if _plain(path.stem) == name:
            if path in own:
                _refuse_taken_aliases(read(path), path, own, shipped)
            return path
    matches = [path for path, profile in _profiles(own, shipped) if name in map(_plain, profile.aliases)]
    if len(matches) > 1:
        raise ProfileError(
            f"{name_or_path!r} is an alias in both {matches[0]} and {matches[1]}; take it out of one of them"
        )
    if matches:
        return matches[0]
    raise ProfileError(_unknown(name_or_path, own, shipped))


def own_files(search: Sequence[str | Path] | None = None) -> list[Path]:
    """The files of a user's own profiles; those that come first count. `search` is as in `load`."""
    folders = (HERE, user_folder()) if search is None else search
    return [path for folder in folders for path in sorted(Path(folder).glob("*.yaml"))]


def shipped_as(name: str) -> str | None:
    """The id of the shipped device that this name would hide or be taken for: its id or alias; None if it is free."""
    for path in sorted(SHIPPED.glob("*.yaml")):
        profile = read(path)
        if _plain(name) in map(_plain, (profile.id, *profile.aliases)):
            return profile.id
    return None


def names(search: Sequence[str | Path] | None = None) -> tuple[str, ...]:
    """The ids that `load` knows, sorted: the shipped devices, the user's own, and "host"."""
    own = {path.stem for path in own_files(search)}
    return tuple(sorted({HOST, *own, *(path.stem for path in SHIPPED.glob("*.yaml"))}))


def read(path: Path) -> DeviceProfile:
    """Read and check one YAML file, whose name must be its device's id; raises ProfileError naming the file."""
    from hardware_profiles.plain_yaml import load as load_yaml

    # Whoever opens a pipe waits for somebody to write into it.
    if path.exists() and not path.is_file():
        raise ProfileError(f"{path}: is no regular file; give the path of a .yaml file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ProfileError(f"{path}: cannot be read ({error})") from error
    try:
        data = load_yaml(text)
    except ValueError as error:
        raise ProfileError(f"{path}: is not valid YAML of a profile: {error}") from error
    profile = parse(data, str(path))
    if profile.id != path.stem:
        raise ProfileError(f"{path}: id is {profile.id!r}; it must equal the file's name, {path.stem!r}")
    return profile


@functools.cache
def _detected_host() -> DeviceProfile:
    from hardware_profiles.host import detect

    return detect()


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "").replace("_", "").replace(" ", "")


def _profiles(own: Iterable[Path], shipped: Iterable[Path]) -> Iterator[tuple[Path, DeviceProfile]]:
    """Every profile that is in force: a user's file hides the shipped one with the same id."""
    own = list(own)
    hidden = {path.stem for path in own}
    for path in [*own, *(path for path in shipped if path.stem not in hidden)]:
        yield path, read(path)


def _refuse_taken_aliases(profile: DeviceProfile, path: Path, own: list[Path], shipped: list[Path]) -> None:
    mine = {_plain(alias): alias for alias in profile.aliases}
    for other_path, other in _profiles(own, shipped):
        if other.id == profile.id:
            continue
        for taken in (other.id, *other.aliases):
            if _plain(taken) in mine:
                raise ProfileError(
                    f"{path}: aliases has {mine[_plain(taken)]!r}, which already names {other.id!r} ({other_path})"
                )


def _unknown(name: str | Path, own: list[Path], shipped: list[Path]) -> str:
    ids: dict[str, str] = {HOST: HOST}
    for _, profile in _profiles(own, shipped):
        ids |= {_plain(word): profile.id for word in (profile.id, *profile.aliases)}
    close = list(dict.fromkeys(ids[word] for word in nearest(_plain(str(name)), ids, n=5)))[:3]
    hint = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(sorted(set(ids.values())))}"
    return f"no device profile is called {str(name)!r}; {hint}; or give the path of your own .yaml file"
