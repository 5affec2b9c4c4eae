"""The process that a run lives in: bytes on disk, interruption, the C heap, standard streams."""
