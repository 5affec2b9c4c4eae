"""The stages of a run. Each reads the files that earlier stages left in the run folder, and writes its own.

A stage may be killed at any instant and run again alone; it finds out from the files what is already done.
"""
