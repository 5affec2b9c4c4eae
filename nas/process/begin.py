"""Take the cores that a worker is given, end with the process that began it, and become a command.

    python begin.py CORES PARENT COMMAND...

Started as a program: the limits are those of the process, so that every library that counts cores (XLA, BLAS, ONNX
Runtime) finds as many as it was given.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: From Linux's prctl.h: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Do so; does not return."""
    cores, parent, *command = sys.argv[1:]
    os.sched_setaffinity(0, map(int, cores.split(",")))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(parent):  # or else it died before that was said
        os.execv(command[0], command)


if __name__ == "__main__":
    main()
