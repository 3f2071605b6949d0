"""Make glibc keep the memory that a training step frees. Imports no TensorFlow."""

from __future__ import annotations

import ctypes
import os
import platform

# Numbers of mallopt's parameters in malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step instead of handing it back to the kernel.

    A step allocates the same tensors of some megabytes again and again. By default glibc maps those anew, and the
    kernel fills them with zeros. With `GLIBC_TUNABLES` the user has chosen already.

    Returns:
        Whether anything was changed.
    """
    if platform.libc_ver()[0] != "glibc" or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))
