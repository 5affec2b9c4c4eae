"""Where is the device of a target: behind a pipe that the user named, or this machine?"""

from __future__ import annotations

from hardware_profiles import DeviceProfile, Target
from hardware_profiles.host import is_here
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.devices.base import Device
from nas.devices.board import addresses
from nas.devices.board.addresses import Address
from nas.devices.board.connection import connection
from nas.devices.board.device import Board
from nas.devices.local import local_device


def find_device(target: Target, profile: DeviceProfile, plugins: Plugins = NO_PLUGINS) -> Device | None:
    """A `base.DeviceFinder`: the board that was added by that name, or this machine where the target's device is it."""
    found = board_of(target, profile)
    return local_device(target, profile, plugins) if found is None else Board(target, connection(*found))


def runs_here(target: Target, profile: DeviceProfile) -> bool:
    """Whether networks of a target are run by this machine, and not behind a pipe."""
    return board_of(target, profile) is None and is_here(profile)


def board_of(target: Target, profile: DeviceProfile) -> tuple[str, Address] | None:
    """The name and address of the board that a target is on: it was added by the target's name, or its profile's."""
    known = addresses.known()
    return next(((name, known[name]) for name in (target.device, profile.id) if name in known), None)
