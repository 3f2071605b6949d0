"""Judge in a TensorFlow graph whether a JPEG is whole, as `jpeg_markers` does.

TensorFlow's decoder passes over libjpeg's warnings. Those about the markers are errors here, as they are in prepare.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf

from pipelines.imaging.formats import MAX_PIXELS
from pipelines.imaging.graph_checks import refuse_unless
from pipelines.imaging.jpeg_markers import BARE, COEFFICIENTS, END, EOI, FRAMES, PROGRESSIVE, SOS

# A scan's header has at most so many bytes.
_SCAN_HEADER = 2 + 2 + 1 + 2 * 255 + 3
# Markers that no header has.
_MISPLACED = (EOI, *BARE)


class _Header(NamedTuple):
    whole: tf.Tensor  # whether there is nothing but segments up to the first scan
    frame: tf.Tensor  # where the last frame header starts
    kind: tf.Tensor  # its marker
    scan: tf.Tensor  # where the first scan's header starts


def _one_of(number: tf.Tensor, values: Iterable[int]) -> tf.Tensor:
    return tf.reduce_any(number == tf.constant(sorted(values)))


def _header(data: tf.Tensor) -> _Header:
    """Walk the segments up to the first scan."""
    size = tf.strings.length(data)
    zero = tf.constant(0)

    def look(
        position: tf.Tensor, whole: tf.Tensor, frame: tf.Tensor, kind: tf.Tensor, scan: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        numbers = tf.cast(_decoded(tf.strings.substr(data, position, 4), tf.uint16), tf.int32)
        found = numbers[0] - 0xFF00
        end = position + 2 + tf.where(found == 0xFF, -1, numbers[1])
        # Four more bytes must follow, the next marker and its length.
        good = tf.reduce_all(tf.stack([found > 0, end + 4 <= size, tf.logical_not(_one_of(found, _MISPLACED))]))
        is_frame, is_scan = _one_of(found, FRAMES), found == SOS
        return (
            tf.where(tf.logical_and(good, tf.logical_not(is_scan)), end, -1),
            tf.logical_and(whole, good),
            tf.where(is_frame, position, frame),
            tf.where(is_frame, found, kind),
            tf.where(is_scan, position, scan),
        )

    _, *found = tf.while_loop(
        lambda position, *_: position >= 0,
        look,
        (tf.where(size >= 6, 2, -1), size >= 6, zero, zero, zero),
        parallel_iterations=1,
    )
    return _Header(*found)


def _decoded(data: tf.Tensor, kind: tf.DType) -> tf.Tensor:
    return tf.io.decode_raw(data, kind, little_endian=False)


def _markers(numbers: tf.Tensor) -> tf.Tensor:
    """Return where a 0xff is followed by what makes it a marker, and last where the data end; int32 [n]."""
    following = numbers[1:]
    is_restart = tf.logical_and(following >= 0xD0, following <= 0xD7)
    other = tf.logical_or(is_restart, tf.logical_or(following == 0, following == 0xFF))
    places = tf.where(tf.logical_and(numbers[:-1] == 0xFF, tf.logical_not(other)))[:, 0]
    return tf.concat([tf.cast(places, tf.int32), [tf.size(numbers)]], axis=0)


def _has_end(data: tf.Tensor, header: _Header) -> tf.Tensor:
    def search() -> tf.Tensor:
        numbers = _decoded(tf.strings.substr(data, header.scan + 2, -1), tf.uint8)
        length = tf.cast(numbers[0], tf.int32) * 256 + tf.cast(numbers[1], tf.int32)
        return tf.reduce_any(tf.logical_and(numbers[length:-1] == END[0], numbers[length + 1 :] == END[1]))

    return tf.cond(tf.strings.substr(data, -len(END), len(END)) == END, lambda: True, search)


def _has_all_scans(data: tf.Tensor, header: _Header) -> tf.Tensor:
    """Return whether a progressive JPEG has every bit of its coefficients, in an order that libjpeg takes."""
    raw = _decoded(data, tf.uint8)
    size, markers = tf.size(raw), _markers(raw)
    # The zeros keep all look-ups below in range.
    numbers = tf.concat([raw, tf.zeros([_SCAN_HEADER + 4], tf.uint8)], axis=0)

    def number(position: tf.Tensor) -> tf.Tensor:
        return tf.cast(numbers[position], tf.int32)

    components = numbers[header.frame + 10 : header.frame + 10 + 3 * number(header.frame + 9) : 3]
    band = tf.range(COEFFICIENTS)[tf.newaxis]

    def scan_of(position: tf.Tensor, bits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parameters = position + 5 + 2 * number(position + 4)
        chosen = tf.reduce_any(components[:, tf.newaxis] == numbers[tf.newaxis, position + 5 : parameters : 2], axis=1)
        first, last, shift = number(parameters), number(parameters + 1), number(parameters + 2)
        told = tf.logical_and(chosen[:, tf.newaxis], tf.logical_and(band >= first, band <= last))
        follows = tf.maximum(bits, 0) == tf.bitwise.right_shift(shift, 4)
        no_start = tf.logical_and(first > 0, tf.reduce_any(tf.logical_and(chosen, bits[:, 0] < 0)))
        good = tf.logical_and(tf.reduce_all(tf.logical_or(follows, tf.logical_not(told))), tf.logical_not(no_start))
        return good, tf.where(told, tf.bitwise.bitwise_and(shift, 15), bits)

    def look(position: tf.Tensor, good: tf.Tensor, bits: tf.Tensor) -> tuple[tf.Tensor, ...]:
        is_scan = number(position + 1) == SOS
        follows, bits = tf.cond(is_scan, lambda: scan_of(position, bits), lambda: (True, bits))
        end = position + 2 + 256 * number(position + 2) + number(position + 3)
        end = tf.where(number(position + 1) == 0xFF, position + 1, tf.minimum(end, size))
        behind = tf.cond(is_scan, lambda: markers[tf.searchsorted(markers, [end])[0]], lambda: end)
        return behind, tf.logical_and(good, follows), bits

    def goes_on(position: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        is_marker = tf.logical_and(number(position) == 0xFF, number(position + 1) != EOI)
        return tf.logical_and(position + 4 <= size, is_marker)

    start = tf.fill([tf.size(components), COEFFICIENTS], -1)
    _, good, bits = tf.while_loop(goes_on, look, (header.scan, tf.constant(True), start), parallel_iterations=1)
    return tf.logical_and(good, tf.reduce_all(bits == 0))


def whole_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Return a JPEG once it is known to be whole by its markers, and not too large.

    Args:
        data: A JPEG file, string scalar.

    Raises:
        tf.errors.InvalidArgumentError: It is not.
    """
    header = _header(data)
    with refuse_unless(header.whole, "undecodable: the header of the JPEG is damaged"):
        shape = tf.cast(tf.io.extract_jpeg_shape(data), tf.int64)
    with refuse_unless(shape[0] * shape[1] <= MAX_PIXELS, f"too_large: more than {MAX_PIXELS:,} pixels"):
        ended = _has_end(data, header)
    with refuse_unless(ended, "undecodable: the JPEG has no end marker: the last bytes are missing"):
        is_progressive = _one_of(header.kind, PROGRESSIVE)
        whole = tf.cond(is_progressive, lambda: _has_all_scans(data, header), lambda: True)
    with refuse_unless(whole, "undecodable: the JPEG lacks scans: the last details are missing"):
        return tf.identity(data)
