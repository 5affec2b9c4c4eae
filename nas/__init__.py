"""Hardware-aware neural architecture search: name a device and a budget, get networks that keep it, measured."""

__version__ = "0.1.0"
