from tests.nas.small_spaces import cache, pictures, quick_compilation, tiny

__all__ = ["cache", "pictures", "quick_compilation", "tiny"]
