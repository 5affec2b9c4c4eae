"""Where is the device of a target: behind a pipe that the user named, or this machine?"""

from __future__ import annotations

from hardware_profiles import DeviceProfile, Target
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.devices.base import Device
from nas.devices.board import addresses
from nas.devices.board.connection import connection
from nas.devices.board.device import Board
from nas.devices.local import local_device


def find_device(target: Target, profile: DeviceProfile, plugins: Plugins = NO_PLUGINS) -> Device | None:
    """A `base.DeviceFinder`: the board that was added by that name, or this machine where the target's device is it."""
    known = addresses.known()
    for name in (target.device, profile.id):
        if name in known:
            return Board(target, connection(name, known[name]))
    return local_device(target, profile, plugins)
