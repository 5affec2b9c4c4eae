"""Supernets: all networks of a space in one program, with shared weights, and how these are trained."""
