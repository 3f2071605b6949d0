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
# Stands in the stream where TensorFlow's start is over.
_OVER = b"\0over\0"
_lock = threading.Lock()


@contextlib.contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Take TensorFlow's own lines out of file descriptor 2, and show them only if an exception passes.

    A process that is started meanwhile has the filter as its own standard error. It writes through it as long as it
    lives, and nobody waits for its end.
    """
    sys.stderr.flush()
    saved, (read_end, write_end) = os.dup(2), os.pipe()
    held: list[bytes] = []
    is_over = threading.Event()

    def pass_on() -> None:
        try:
            pass_on_lines()
        finally:
            # Also if nobody reads our standard error any more; else `stop` would wait for ever.
            is_over.set()

    def pass_on_lines() -> None:
        with open(read_end, "rb", buffering=0) as pipe:
            rest = b""
            while data := pipe.read(1 << 16):
                *lines, rest = (rest + data).replace(_OVER, _OVER + b"\n").split(b"\n")
                for line in lines:
                    if line.endswith(_OVER):
                        os.write(saved, line.removesuffix(_OVER))
                        is_over.set()
                    elif _NATIVE.match(line) and not is_over.is_set():
                        held.append(line + b"\n")
                    else:
                        os.write(saved, line + b"\n")
        os.write(saved, rest)
        os.close(saved)

    threading.Thread(target=pass_on, daemon=True).start()
    os.dup2(write_end, 2)
    os.close(write_end)

    def stop() -> None:
        os.write(2, _OVER)
        is_over.wait()
        os.dup2(saved, 2)

    try:
        yield
    except BaseException:
        stop()
        os.write(2, b"".join(held))
        raise
    stop()


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Keep the import of TensorFlow from loading Keras, which takes as long again as TensorFlow itself.

    TensorFlow does without it. Whoever builds a network or reads a Keras file imports it, as always.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        yield
    finally:
        del sys.modules["keras"]


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
        with _without_keras():
            import tensorflow as tf

        # The search for a GPU logs errors on a machine without one; trigger it while stderr is filtered.
        tf.config.list_physical_devices()
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
