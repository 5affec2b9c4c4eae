"""A TVM RPC server as a process of its own, which never outlives the process that started it.

Run as a script, it reads one line of JSON (host, port, key, pid of its parent, folder to remove at the end), and
writes a line when it listens. It ends itself, and the process it forks per session, when its parent is gone or its
listening thread has died: TVM's own server stays alive, deaf, after a session that crashed. A server runs whatever
code is uploaded: it belongs on 127.0.0.1, and boards behind `ssh -L`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time


def main() -> None:
    """Serve until the parent is gone; must be the leader of its own process group."""
    settings = json.loads(sys.stdin.readline())
    # Only the runtime: the compiler's library takes three times as long to load, and a board has none.
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
    from tvm.rpc.server import PopenRPCServerState

    port = settings["port"]
    state = PopenRPCServerState(settings["host"], port, port + 1, key=settings["key"], silent=True)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while state.thread.is_alive() and os.getppid() == settings["parent"]:
        time.sleep(0.2)
    shutil.rmtree(settings["folder"], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
