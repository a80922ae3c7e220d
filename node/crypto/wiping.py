"""Secret bytes that are overwritten after use, and kept out of swap space while they are in use.

What Python can do of it, and no more: only a `bytearray` can be overwritten. What a library takes
or gives as `bytes`, an `int` or a `str` (a passphrase that was typed) stays in this process's
memory until that is used again. So a buffer shortens how long a secret lies about, and lessens how
many copies there are; against whoever reads this memory a device is the answer (`device.py`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def secret_buffer(size: int) -> Iterator[bytearray]:
    """Lend a buffer of `size` bytes, locked in memory where the system allows it, zero afterwards.

    A user may lock little memory (ulimit -l); where that is used up the buffer is lent all the
    same. Zeroed also where what used it raised.
    """
    buffer = bytearray(size)
    view = (ctypes.c_char * size).from_buffer(buffer)
    libc = ctypes.CDLL(None)
    address = ctypes.c_void_p(ctypes.addressof(view))
    is_locked = libc.mlock(address, ctypes.c_size_t(size)) == 0
    try:
        yield buffer
    finally:
        ctypes.memset(address, 0, size)
        if is_locked:
            libc.munlock(address, ctypes.c_size_t(size))
        del view  # a buffer that is looked at cannot be resized
