"""Numbers and names as people read them: few digits, a unit, and a dash where there is nothing to say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from nas.config.units import format_bytes, format_joules, format_seconds

NOTHING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
_NO_BREAK = "\N{NO-BREAK SPACE}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_RUNTIMES = {
    "onnxruntime": "ONNX Runtime",
    "whole_model": "ONNX Runtime, model.onnx",
    "tvm": "TVM",
    "tvm_rpc": "TVM over RPC",
    "jax": "JAX",
}
_TARGET = re.compile(
    r"(?P<device>[^-]+(?:-[^-]+)*?)-(?P<runner>[a-z=][a-z0-9_.=]*)"
    r"-t(?P<threads>\d+)-b(?P<batch>\d+)-(?P<dtype>[a-z0-9]+)"
    r"(?:-mode_(?P<mode>[^-]+))?(?:-version_(?P<version>[^-]+))?"
)


def seconds(value: float | None) -> str:
    """A latency with three significant digits: `7.61 ms`."""
    return NOTHING if value is None else format_seconds(value).replace(" us", " µs").replace(" ", _NO_BREAK)


def duration(value: float | None) -> str:
    """How long a person waited: `1 h 12 min`, `43 s`."""
    if value is None:
        return NOTHING
    if value < 9.95:
        return f"{value:.1f}{_NO_BREAK}s"
    total = round(value)
    if total < 60:
        return f"{total}{_NO_BREAK}s"
    if total < 3600:
        return f"{total // 60}{_NO_BREAK}min {total % 60}{_NO_BREAK}s"
    return f"{total // 3600}{_NO_BREAK}h {total % 3600 // 60}{_NO_BREAK}min"


def percent(value: float | None, digits: int = 1) -> str:
    """A share: 0.9123 is `91.2 %`."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}{_THIN}%"


def signed_percent(value: float | None, digits: int = 1) -> str:
    """A relative difference with its sign: `+2.1 %`."""
    return NOTHING if value is None else f"{100 * value:+.{digits}f}{_THIN}%".replace("-", "\N{MINUS SIGN}")


def percent_range(interval: tuple[float, float] | None) -> str:
    """An interval of shares: `90.6 to 91.8 %`."""
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}{_THIN}%"


def count(value: float | None) -> str:
    """A large count with three digits: `1.24 million`; a small one exactly."""
    if value is None:
        return NOTHING
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if value >= 0.9995 * size:
            return f"{value / size:#.3g}".rstrip(".") + f"{_NO_BREAK}{name}"
    return f"{value:,.0f}".replace(",", _THIN)


def size(value: float | None) -> str:
    """A number of bytes: `1.21 MiB`."""
    return NOTHING if value is None else format_bytes(value).replace(" ", _NO_BREAK)


def energy(value: float | None) -> str:
    """An energy with three significant digits: `1.21 mJ`."""
    return NOTHING if value is None else format_joules(value).replace(" ", _NO_BREAK)


def small(value: float | None) -> str:
    """A small difference in powers of ten: `1.2 × 10⁻⁶`."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    mantissa = f"{value / 10.0**exponent:.1f}"
    if mantissa.startswith("10"):
        mantissa, exponent = "1.0", exponent + 1
    return f"{mantissa}{_NO_BREAK}{TIMES}{_NO_BREAK}10{str(exponent).translate(_SUPERSCRIPT)}"


def times(value: float | None) -> str:
    """A ratio: `28 ×`."""
    return NOTHING if value is None else f"{value:.2g}{_NO_BREAK}{TIMES}" if value < 99.5 else f"{value:.0f} {TIMES}"


def shape(extents: Sequence[int]) -> str:
    """Extents of an image: `14 × 14`."""
    return f"{_NO_BREAK}{TIMES}{_NO_BREAK}".join(map(str, extents))


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 network`, `3 networks`."""
    return f"{number}{_NO_BREAK}{one if number == 1 else many or one + 's'}"


def runtime(name: str) -> str:
    """A runtime's own spelling of its name."""
    return _RUNTIMES.get(name, name)


def budget(latency_s: float | None, how: str) -> str:
    """`at most 8.00 ms in the worst case`, for `how` as `Budget.how` has it, or nothing."""
    return f"at most {seconds(latency_s)} {how}".rstrip()


def target(key: str, devices: dict[str, str]) -> str:
    """A target's key in words; `devices` has names of devices by id. Unknown forms are returned as they are."""
    found = _TARGET.fullmatch(key)
    if found is None:
        return key
    device = _unescape(found["device"])
    parts = [
        f"{runtime(_unescape(found['runner']))}{' ' + _unescape(found['version']) if found['version'] else ''}"
        f" on {devices.get(device, device)}",
        plural(int(found["threads"]), "thread"),
        f"batch {found['batch']}",
        found["dtype"],
    ]
    return ", ".join([*parts, *([f"power mode {_unescape(found['mode'])}"] if found["mode"] else [])])


def value(written: object) -> str:
    """A value as an experiment has it, short: `mobile, table 8x8`."""
    if isinstance(written, Mapping):
        return ", ".join(value(item) if key == "name" else f"{key} {value(item)}" for key, item in written.items())
    if isinstance(written, list | tuple):
        return ", ".join(map(value, written))
    return "none" if written is None else f"{written}".lower() if isinstance(written, bool) else f"{written}"


def _unescape(text: str) -> str:
    raw = re.sub(rb"=([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode(errors="replace")
