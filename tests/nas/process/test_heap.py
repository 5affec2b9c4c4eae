"""The C heap: kept where glibc is, and said to be kept before threads of numpy get arenas of their own."""

import subprocess
import sys

import pytest

from nas.process.heap import keep_heap

GLIBC = sys.platform == "linux" and "musl" not in sys.implementation._multiarch

PROBE = """
import resource, sys
from nas.process.heap import keep_heap
early = sys.argv[1] == "early"
if early: keep_heap()
import numpy as np
import threading
def work():
    for _ in range(5): np.ones(12_000_000)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work); thread.start(); thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(); print(faults())
"""


def test_the_heap_is_kept_where_glibc_is() -> None:
    assert keep_heap() == GLIBC


@pytest.mark.skipif(not GLIBC, reason="glibc alone has these settings")
def test_large_buffers_of_other_threads_are_not_mapped_anew_each_time() -> None:
    def faults(when: str) -> int:
        run = subprocess.run([sys.executable, "-c", PROBE, when], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert faults("early") * 10 < faults("never")


REUSED = """
import numpy, threading
from nas.process import heap
assert heap.keep_heap()
size = 64 * 2**20
place, before = heap.place_of(size), heap.in_use()
assert heap.place_of(size) == place
held = numpy.ones(size, numpy.uint8)
assert heap.in_use() >= before + size and heap.place_of(size) != place
assert not heap.wait_until(before, 0.01)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
threading.Timer(0.05, lambda: globals().pop("held")).start()
assert heap.wait_until(before + size // 2, 5)
assert heap.place_of(size) == place
kept = resident()
heap.release()
assert resident() < kept - size // 2
"""


@pytest.mark.skipif(not GLIBC, reason="glibc alone can be asked")
def test_the_heap_says_what_is_in_use_and_where_the_next_buffer_goes() -> None:
    subprocess.run([sys.executable, "-c", REUSED], check=True)
