"""Imported first: tells the C heap to keep freed memory before numpy starts its threads, as the command `nas` does."""

from nas.process.heap import keep_heap

#: Whether it does; on C libraries other than glibc steps are slower.
KEPT = keep_heap()
