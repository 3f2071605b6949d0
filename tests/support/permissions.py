"""Meet permissions as other users do, also as root."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

# Of linux/capability.h: the form of the call with two words, and what lets root pass over the permissions of files.
_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _call(function: str, data: ctypes.Array[_Data]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(ctypes.byref(_Header(_VERSION_3, 0)), data):
        raise OSError(ctypes.get_errno(), function)


@contextlib.contextmanager
def without_override() -> Iterator[None]:
    """Let the permissions of files hold for this thread, and those that it starts, even if it is root's."""
    if os.geteuid():
        yield
        return
    data = (_Data * 2)()
    _call("capget", data)
    before = data[0].effective
    data[0].effective = before & ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    _call("capset", data)
    try:
        yield
    finally:
        data[0].effective = before
        _call("capset", data)
