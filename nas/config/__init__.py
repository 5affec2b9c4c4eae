"""An experiment: its YAML, the frozen data it becomes, and whose code it may name.

Names are imported from the module that defines them, such as `from nas.config import parse`; this package imports none
of its modules by itself, so that units and settings are at hand without pydantic.
"""
