"""Sweeps: which runs a file of axes means, which of them share weights, and carrying them out somewhere in an order."""
