"""Decode a PNG in a TensorFlow graph: `png.plain_png` and the checks that libpng does not do, then libpng."""

from __future__ import annotations

import struct

import tensorflow as tf

from pipelines.imaging.formats import MAX_PIXELS, MAX_SIDE
from pipelines.imaging.graph_checks import refuse_unless
from pipelines.imaging.png import ANCILLARY, END_CHUNK, HEADER_BYTES, MOST_PALETTE_BYTES, PALETTE_COLOUR, SIGNATURE

_HEADER_END = len(SIGNATURE) + 12 + HEADER_BYTES


def _kind(name: bytes) -> int:
    """Return a chunk's type as the graph reads it."""
    return int(struct.unpack(">i", name)[0])


def _numbers(data: tf.Tensor, position: tf.Tensor, count: int) -> tf.Tensor:
    """Return big-endian int32 numbers."""
    return tf.io.decode_raw(tf.strings.substr(data, position, 4 * count), tf.int32, little_endian=False)


def _plain(data: tf.Tensor, has_palette: tf.Tensor) -> tf.Tensor:
    """Return the chunks that pixels come from; the same as `png.plain_png`."""
    size = tf.strings.length(data)
    # A chunk may begin where the data end.
    padded = tf.strings.join([data, bytes(8)])
    zero = tf.constant(0)

    def look(
        position: tf.Tensor,
        wrong: tf.Tensor,
        palette: tf.Tensor,
        palette_end: tf.Tensor,
        pixels: tf.Tensor,
        pixels_end: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        header = _numbers(padded, position, 2)
        length, kind = header[0], header[1]
        # A length beyond the data must not overflow.
        fits = tf.logical_and(length >= 0, length <= size - position - 12)
        end = tf.where(fits, position + 12 + length, size)
        is_pixels = kind == _kind(b"IDAT")
        is_palette = kind == _kind(b"PLTE")
        counts = tf.logical_and(is_palette, has_palette)
        bad_pixels = tf.logical_and(is_pixels, tf.logical_and(pixels > 0, pixels_end != position))
        bad_length = tf.logical_or(length % 3 != 0, tf.logical_or(length <= 0, length > MOST_PALETTE_BYTES))
        bad_palette = tf.logical_and(counts, tf.logical_or(bad_length, palette + pixels > 0))
        known = tf.logical_or(is_pixels, is_palette)
        is_end = kind == _kind(b"IEND")
        needed = tf.bitwise.bitwise_and(kind, ANCILLARY << 24) == 0
        unknown = tf.logical_and(needed, tf.logical_not(tf.logical_or(known, is_end)))
        faults = [tf.logical_not(fits), bad_pixels, bad_palette, unknown]
        wrong = tf.logical_or(wrong, tf.reduce_any(tf.stack(faults)))
        return (
            # Nothing more is looked at.
            tf.where(tf.logical_or(is_end, wrong), -1, end),
            wrong,
            tf.where(counts, position, palette),
            tf.where(counts, end, palette_end),
            tf.where(tf.logical_and(is_pixels, pixels == 0), position, pixels),
            tf.where(is_pixels, end, pixels_end),
        )

    _, wrong, palette, palette_end, pixels, pixels_end = tf.while_loop(
        lambda position, *_: position >= 0,
        look,
        (tf.constant(_HEADER_END), tf.constant(False), zero, zero, zero, zero),
        parallel_iterations=1,
    )
    whole = tf.logical_and(tf.logical_not(wrong), pixels > 0)
    whole = tf.logical_and(whole, tf.logical_or(tf.logical_not(has_palette), palette > 0))
    with refuse_unless(whole, "undecodable: the chunks of the PNG are not in order, or are cut short"):
        parts = ((zero, tf.constant(_HEADER_END)), (palette, palette_end), (pixels, pixels_end))
        return tf.strings.join([*(tf.strings.substr(data, start, end - start) for start, end in parts), END_CHUNK])


def decode_png(data: tf.Tensor) -> tf.Tensor:
    """Decode a PNG to uint8 [height, width, 3].

    Args:
        data: A PNG file, string scalar. Its signature is not checked.

    Raises:
        tf.errors.InvalidArgumentError: The file is damaged or too large.
    """
    start = tf.strings.substr(data, 0, len(SIGNATURE) + 8)
    begins = tf.logical_and(start == SIGNATURE + b"\0\0\0\x0dIHDR", tf.strings.length(data) >= _HEADER_END)
    with refuse_unless(begins, "undecodable: the PNG does not begin with its header"):
        header = tf.strings.substr(data, len(SIGNATURE) + 8, HEADER_BYTES)
    width, height = tf.unstack(tf.cast(tf.bitcast(_numbers(header, tf.constant(0), 2), tf.uint32), tf.int64), num=2)
    colour = tf.io.decode_raw(tf.strings.substr(header, 9, 1), tf.uint8)[0]
    plain = _plain(data, colour == PALETTE_COLOUR)
    fits = tf.logical_and(tf.maximum(width, height) <= MAX_SIDE, width * height <= MAX_PIXELS)
    with refuse_unless(fits, f"too_large: more than {MAX_PIXELS:,} pixels"):
        return tf.io.decode_png(tf.identity(plain), channels=3)
