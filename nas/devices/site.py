"""Where `nas profile` measures: this machine, or a board that was added by that name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hardware_profiles import DeviceProfile, Target
from hardware_profiles import load as load_profile
from hardware_profiles.host import detect, identity
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.devices.base import Device
from nas.devices.board import addresses
from nas.devices.board.connection import connection
from nas.devices.board.device import Board
from nas.devices.local import InProcess
from nas.devices.runners import runner_for
from nas.errors import InputError
from nas.process.facts import cores_used


@dataclass(frozen=True)
class Site:
    """A device that is measured: the runtime there, what tells it from others, and how it is described.

    `known` says what can be said without measuring, `described` all of it, which takes a second or two here.
    """

    device: Device
    runtime: str
    machine: Mapping[str, str]
    known: DeviceProfile
    described: Callable[[], DeviceProfile]


def site_of(target: Target, plugins: Plugins = NO_PLUGINS) -> Site:
    """The site of a target; raises InputError for threads that have no core, DeviceLost for a board that is gone."""
    address = addresses.known().get(target.device)
    if address is None:
        cores = len(cores_used())
        if target.threads > cores:
            raise InputError(f"--threads {target.threads}: this process may use {cores} cores; more threads only wait")
        machine, runtime = identity(), runner_for(target, plugins).version
        here = InProcess(target, plugins)
        known = detect(measure=False)
        return Site(here, runtime, machine, known, lambda: replace(detect(), id=target.device, machine=machine))
    known = load_profile(target.device)
    if known.kind == "cpu" and target.threads > known.cores.value:
        raise InputError(
            f"--threads {target.threads}: {target.device} has {int(known.cores.value)} cores; more threads only wait"
        )
    board = Board(target, connection(target.device, address))
    with board.open({}) as session:
        runtime = session.runtime
    return Site(board, runtime, address.identity, known, lambda: replace(known, machine=address.identity))
