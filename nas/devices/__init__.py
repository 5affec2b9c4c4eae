"""Devices: how networks are made to run there, and how long they take."""
