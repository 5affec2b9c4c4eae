"""Device profiles: what a device can do at most, each number with its source, and the key of a deployment.

>>> from hardware_profiles import load
>>> round(load("raspi4").peak("float32") / 1e9)
48
"""

from hardware_profiles.profile import HOST, Cache, DeviceProfile, ProfileError, Quantity
from hardware_profiles.registry import load, names
from hardware_profiles.target import Target

__all__ = ["HOST", "Cache", "DeviceProfile", "ProfileError", "Quantity", "Target", "load", "names"]
