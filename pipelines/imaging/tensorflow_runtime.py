"""Start TensorFlow quietly, and only when a command needs it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator

# How TensorFlow's native code and its libraries begin a line.
_NATIVE = re.compile(
    rb"WARNING: All log messages before absl|[IWEF]\d{4} \d\d:|\d{4}-\d\d-\d\d \S+: [IWEF] |To enable the following"
)
_lock = threading.Lock()


@contextlib.contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Take TensorFlow's own lines out of file descriptor 2, and show them only if an exception passes."""
    sys.stderr.flush()
    saved, (read_end, write_end) = os.dup(2), os.pipe()
    held: list[bytes] = []

    def pass_on() -> None:
        with open(read_end, "rb") as lines:
            for line in lines:
                if _NATIVE.match(line):
                    held.append(line)
                else:
                    os.write(saved, line)

    reader = threading.Thread(target=pass_on)
    reader.start()
    os.dup2(write_end, 2)
    os.close(write_end)
    try:
        yield
    except BaseException:
        os.write(saved, b"".join(held))
        raise
    finally:
        os.dup2(saved, 2)
        reader.join()
        os.close(saved)


def start_tensorflow() -> None:
    """Import TensorFlow without its start-up messages, which no setting silences and which hide our own output.

    Call this once the command line is validated: the import takes seconds. Any thread may call it.
    """
    with _lock:
        if "tensorflow" not in sys.modules:
            _start()


def _start() -> None:
    # 3 (fatal errors only): errors reach us as exceptions, and libjpeg's warnings do not say which image is bad.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _filtered_stderr():
        import tensorflow as tf

        # The search for a GPU logs errors on a machine without one; trigger it while stderr is filtered.
        tf.config.list_physical_devices()
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
