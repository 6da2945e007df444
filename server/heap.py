"""Give memory back: Python and the C library keep what a burst of tokens needed unless they are asked."""

import ctypes
import gc
import os
import sys

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h of glibc
LARGE_BYTES = 128 * 1024


def _libc() -> ctypes.CDLL | None:
    """The C library if it is glibc; others have neither of the two calls."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def use_returning_allocator() -> None:
    """Start the process over with the C library's allocator, unless PYTHONMALLOC says which one is wanted.

    Python's own keeps a megabyte for every small object that lives on in it: after 8 runs of 10,000 tokens
    whose readers had stalled, 55 MB stayed behind instead of 11, for a fifth more tokens per second
    (docs/decisions/0007). It can only be chosen before Python starts; this costs 30 ms.
    """
    if "PYTHONMALLOC" in os.environ or not _is_glibc():
        return
    os.environ["PYTHONMALLOC"] = "malloc"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False


def prepare() -> None:
    """Before the first thread: one heap for all of them, which Python's lock lets work one at a time anyway.

    Each thread with a heap of its own left 20 MB more behind after 8 runs of 10,000 tokens.
    """
    if libc := _libc():
        libc.mallopt(_M_ARENA_MAX, 1)
        # Said once, it stays: glibc would raise it with every large block that is freed, and put the next
        # ones among the small ones.
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def freeze() -> None:
    """Take what was imported out of the garbage collector's sight.

    It is there for good and a hundred times more than what the server makes; looking through it would stop
    every thread for a tenth of a second, and puts off the collection of the cycles that ended runs leave.
    """
    gc.collect()
    gc.freeze()


def settle() -> None:
    """Collect the cycles of ended runs and return free pages. Takes milliseconds after `freeze`."""
    gc.collect()
    if libc := _libc():
        libc.malloc_trim(0)
