"""Running what was built: the runtimes that a target may name, each in this process, and what builds for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nas.config import registry
from nas.config.plugins import NO_PLUGINS, Plugins

if TYPE_CHECKING:
    from hardware_profiles import DeviceProfile, Target
    from nas.deploy.builders import Builder
    from nas.devices.runners.base import Runner

RUNNERS: Final[dict[str, str]] = {
    "onnxruntime": "nas.devices.runners.onnxruntime_runner:OnnxRuntime",
    "tvm": "nas.devices.runners.tvm_runner:Tvm",
}


def runner_class(name: str, plugins: Plugins = NO_PLUGINS) -> type[Runner]:
    """The class that a target's `runner` names, one of ours or `module:name`.

    Raises InputError for a name that is neither, and for code that is not among `plugins`.
    """
    found: Any = registry.load(registry.resolve(name, RUNNERS, "runner"), plugins)
    kind: type[Runner] = found
    return kind


def runner_for(target: Target, plugins: Plugins = NO_PLUGINS) -> Runner:
    """The runner that a target names, set up for it; raises InputError where its runtime is not installed."""
    return runner_class(target.runner, plugins)(target)


def builder_for(target: Target, profile: DeviceProfile, plugins: Plugins = NO_PLUGINS) -> Builder:
    """What builds for the runner that a target names; the runtime itself need not be installed here."""
    return runner_class(target.runner, plugins).builder(target, profile)
