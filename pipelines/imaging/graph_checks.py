"""Refuse an image within a TensorFlow graph."""

from __future__ import annotations

import contextlib

import tensorflow as tf


def refuse_unless(condition: tf.Tensor, message: str) -> contextlib.AbstractContextManager[None]:
    """Return the context for operations that run only if a condition holds; else the graph fails.

    Args:
        condition: Bool scalar.
        message: The reason as in prepare's rejects, a colon, and the details.
    """
    context: contextlib.AbstractContextManager[None] = tf.control_dependencies(
        [tf.debugging.Assert(condition, [message])]
    )
    return context
