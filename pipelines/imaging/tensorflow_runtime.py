"""Start TensorFlow quietly, and only when a command needs it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def _captured_stderr() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2, and show it only if an exception passes."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            shutil.copyfileobj(held, sys.stderr.buffer)
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def start_tensorflow() -> None:
    """Import TensorFlow without its start-up messages, which no setting silences and which hide our own output.

    Call this once the command line is validated: the import takes seconds.
    """
    # 3 (fatal errors only): errors reach us as exceptions, and libjpeg's warnings do not say which image is bad.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _captured_stderr():
        import tensorflow as tf

        # The search for a GPU logs errors on a machine without one; trigger it while stderr is held back.
        tf.config.list_physical_devices()
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
