from tests.nas.cli.profiles import profiled, quick

__all__ = ["profiled", "quick"]
