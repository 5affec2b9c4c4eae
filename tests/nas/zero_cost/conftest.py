from tests.nas.small_spaces import cache, quick_compilation, tiny

__all__ = ["cache", "quick_compilation", "tiny"]
