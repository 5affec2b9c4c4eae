from __future__ import annotations

from tests.nas.deploy.exported_network import compiled, exported

__all__ = ["compiled", "exported"]
