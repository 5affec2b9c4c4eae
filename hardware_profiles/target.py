"""The deployment key: what budgets, latency models, measurements, artefacts and file names all carry.

On one CPU, ONNX Runtime and untuned TVM differ 28-fold and batch 1 and batch 8 are other problems, so a latency
without a target means nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hardware_profiles.profile import DTYPES, ProfileError

#: Where a runner computes: the processor, or what ONNX Runtime has besides. Only the first three were ever tried here.
PROVIDERS: Final = ("cpu", "cuda", "tensorrt")
UNTRIED_PROVIDERS: Final = (
    *("acl", "armnn", "azure", "cann", "coreml", "directml", "dnnl", "js", "migraphx", "nnapi", "openvino", "qnn"),
    *("rknpu", "rocm", "snpe", "tvm", "vitisai", "vsinpu", "webgpu", "webnn", "xnnpack"),
)
_RUNNER: Final = re.compile(r"[a-z][a-z0-9_]*|[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how a network runs. Raises ProfileError for a runner, dtype or count that cannot be.

    `runner` is the name of a runtime, such as `onnxruntime`, or `module:name` of one's own; `provider` is where it
    computes, in the words of PROVIDERS.
    """

    device: str
    runner: str
    threads: int = 1
    batch: int = 1
    dtype: str = "float32"
    power_mode: str | None = None
    runtime_version: str | None = None
    provider: str = "cpu"

    def __post_init__(self) -> None:
        if not isinstance(self.device, str) or not self.device or not _is_unicode(self.device):
            raise ProfileError(f"target device is {self.device!r}; give the id of a device profile, or 'host'")
        if not isinstance(self.runner, str) or not _RUNNER.fullmatch(self.runner):
            raise ProfileError(f"target runner is {self.runner!r}; give the name of one, such as onnxruntime")
        if self.dtype not in DTYPES:
            raise ProfileError(f"target dtype is {self.dtype!r}; choose one of {', '.join(DTYPES)}")
        if self.provider not in (*PROVIDERS, *UNTRIED_PROVIDERS):
            raise ProfileError(f"target provider is {self.provider!r}; choose one of {', '.join(PROVIDERS)}")
        for name in ("threads", "batch"):
            count = getattr(self, name)
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ProfileError(f"target {name} is {count!r}; give a whole number of at least 1")
        for name in ("power_mode", "runtime_version"):
            text = getattr(self, name)
            if text is not None and (not isinstance(text, str) or not text or not _is_unicode(text)):
                raise ProfileError(f"target {name} is {text!r}; give a text, or leave it out")

    @property
    def key(self) -> str:
        """A file name for this target: two targets have the same key only if they are equal.

        Example: `rpi4b-onnxruntime-t4-b1-float32`; upper case and unusual characters are escaped as `=xx`,
        so that keys stay distinct on file systems that ignore case.
        """
        parts = [_escape(self.device), _escape(self.runner), f"t{self.threads}", f"b{self.batch}", self.dtype]
        if self.power_mode is not None:
            parts.append("mode_" + _escape(self.power_mode))
        if self.runtime_version is not None:
            parts.append("version_" + _escape(self.runtime_version))
        if self.provider != "cpu":
            parts.append("on_" + self.provider)
        return "-".join(parts)


def _is_unicode(text: str) -> bool:
    """Whether a text can be written down: halves of a pair of code units, which YAML can spell, cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _escape(text: str) -> str:
    return re.sub(r"[^a-z0-9._]", lambda match: "".join(f"={byte:02x}" for byte in match[0].encode()), text)
