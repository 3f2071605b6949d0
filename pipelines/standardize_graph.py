"""`images.standardize` and `images.encode_jpeg` as one TensorFlow graph, saved with the dataset as `standardize_fn`.

It turns the bytes of any image file into exactly the bytes that prepare stores in `image/encoded`, so that the
exported model sees the pixels it was trained on. Only integers, and floats that hold integers, are computed.
"""

from __future__ import annotations

import tempfile

import tensorflow as tf

from pipelines import images, storage

_EXIF_MARKER = b"Exif\x00\x00"
# EXIF sits in the first APP1 segment, which holds at most 64 KiB.
_EXIF_REACH = 1 << 17


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """EXIF orientation, int32 1 to 8, of a JPEG's bytes; 1 when absent or malformed."""
    head = tf.strings.substr(data, 0, _EXIF_REACH)
    parts = tf.strings.split([head], _EXIF_MARKER, maxsplit=1).values
    before, after = parts[0], tf.cond(tf.size(parts) > 1, lambda: parts[1], lambda: tf.constant(b""))
    # The marker counts only at the start of an APP1 segment: FF E1, two length bytes, then it.
    in_segment = tf.strings.substr(before, tf.maximum(tf.strings.length(before) - 4, 0), 2) == b"\xff\xe1"
    tiff = tf.cast(tf.io.decode_raw(tf.where(in_segment, after, b""), tf.uint8), tf.int32)
    # Zeros behind the end make every look-up below legal; a zero entry is never the orientation.
    tiff = tf.concat([tiff, tf.zeros([16], tf.int32)], axis=0)
    last = tf.size(tiff) - 16
    little = tiff[0] == ord("I")

    def number(position: tf.Tensor, width: int) -> tf.Tensor:
        digits = tiff[tf.clip_by_value(position, 0, last) :][:width]
        # An offset with its top bit set is malformed; the clip below sends it to the zeros.
        return tf.reduce_sum(tf.where(little, digits, digits[::-1]) * tf.constant([1 << (8 * i) for i in range(width)]))

    directory = number(tf.constant(4), 4)
    directory = tf.where((directory < 8) | (directory > last), last, directory)
    entries = tf.minimum(number(directory, 2), (last - directory) // 12)
    starts = directory + 2 + 12 * tf.range(entries)
    tags = tf.map_fn(lambda start: number(start, 2), starts)
    found = tf.boolean_mask(starts, tags == images.ORIENTATION_TAG)
    value = tf.cond(tf.size(found) > 0, lambda: number(found[0] + 8, 2), lambda: tf.constant(1))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _orient(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def one_of(values: list[int]) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(values))

    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    pixels = tf.cond(one_of([2, 3, 6, 7]), lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cond(one_of([3, 4, 7, 8]), lambda: tf.reverse(pixels, [0]), lambda: pixels)


def _decode(data: tf.Tensor, size: int, aspect: str) -> tf.Tensor:
    """uint8 [height, width, 3] with the orientation applied; JPEG shrunk as `images.reduction` says."""

    def jpeg() -> tf.Tensor:
        shape = tf.io.extract_jpeg_shape(data)
        side = tf.reduce_max(shape[:2]) if aspect == "pad" else tf.reduce_min(shape[:2])
        branch = sum(tf.cast(side >= factor * size, tf.int32) for factor in (2, 4, 8))

        def reduced(factor: int) -> tf.Tensor:
            return tf.io.decode_jpeg(data, channels=3, ratio=factor, dct_method="INTEGER_ACCURATE")

        # The default argument binds the factor of this round.
        branches = [lambda factor=factor: reduced(factor) for factor in (1, 2, 4, 8)]
        return _orient(tf.switch_case(branch, branches), _orientation(data))

    return tf.cond(tf.io.is_jpeg(data), jpeg, lambda: tf.io.decode_png(data, channels=3))


def _resize_weights(length: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """`images.resize_weights`, float32 [size, length], for int32 scalars known only when the graph runs."""
    length, size = tf.cast(length, tf.int64), tf.cast(size, tf.int64)
    output, source = tf.range(size)[:, None], tf.range(length)[None, :]
    distance = tf.abs(2 * size * source - ((2 * output + 1) * length - size))
    triangle = tf.maximum(2 * tf.maximum(length, size) - distance, 0)
    weights = triangle * images.WEIGHT_SCALE // tf.reduce_sum(triangle, axis=1, keepdims=True)
    left_over = images.WEIGHT_SCALE - tf.reduce_sum(weights, axis=1)
    heaviest = tf.one_hot(tf.argmax(weights, axis=1), tf.cast(length, tf.int32), dtype=tf.int64)
    return tf.cast(weights + heaviest * left_over[:, None], tf.float32)


def _shrink_rows(pixels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resize axis 0 of [length, m] to [size, m]; float32 that holds whole numbers up to 255, as all of it here."""

    def shrunk() -> tf.Tensor:
        sums = tf.matmul(_resize_weights(tf.shape(pixels)[0], size), pixels)
        # Exact: whole numbers below 2**24, then a power of two.
        return tf.floor((sums + images.WEIGHT_SCALE // 2) * (1.0 / images.WEIGHT_SCALE))

    return tf.cond(tf.shape(pixels)[0] == size, lambda: pixels, shrunk)


def _resize(pixels: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    columns = tf.shape(pixels)[1]
    rows = _shrink_rows(tf.reshape(pixels, [tf.shape(pixels)[0], columns * 3]), height)
    turned = tf.transpose(tf.reshape(rows, [height, columns, 3]), [1, 0, 2])
    done = _shrink_rows(tf.reshape(turned, [columns, height * 3]), width)
    return tf.transpose(tf.reshape(done, [width, height, 3]), [1, 0, 2])


def _fit(pixels: tf.Tensor, size: int, aspect: str) -> tf.Tensor:
    """`images.fit`, uint8 [h, w, 3] -> uint8 [size, size, 3]."""
    shape = tf.shape(pixels)
    height, width = shape[0], shape[1]
    if aspect == "crop":
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    side = tf.maximum(height, width)
    inner_height = tf.maximum(1, (height * size + side // 2) // side) if aspect == "pad" else tf.constant(size)
    inner_width = tf.maximum(1, (width * size + side // 2) // side) if aspect == "pad" else tf.constant(size)
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    inner = _resize(tf.cast(pixels, tf.float32), inner_height, inner_width)
    square = tf.pad(inner, [[top, size - top - inner_height], [left, size - left - inner_width], [0, 0]])
    return tf.cast(square, tf.uint8)


class StandardizeModule(tf.Module):
    """`standardize`: bytes of an image file (string scalar) -> bytes of `image/encoded` (string scalar).

    Raises tf.errors.InvalidArgumentError for a file that cannot be decoded.
    """

    def __init__(self, image_size: int, aspect: str):
        super().__init__()
        self._size = image_size
        self._aspect = aspect

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="image_bytes")])
    def standardize(self, image_bytes: tf.Tensor) -> tf.Tensor:
        # On a GPU, TF32 would round the resize weights; on the CPU the product is exact.
        with tf.device("/CPU:0"):
            pixels = _fit(_decode(image_bytes, self._size, self._aspect), self._size, self._aspect)
            pixels = tf.ensure_shape(pixels, [self._size, self._size, 3])
            return tf.io.encode_jpeg(pixels, format="rgb", quality=images.JPEG_QUALITY, chroma_downsampling=False)


def write_standardize_fn(folder: str, image_size: int, aspect: str) -> None:
    """Write the SavedModel that the trainer exports inside the model, to any filesystem that Beam knows."""
    with tempfile.TemporaryDirectory() as local:
        tf.saved_model.save(StandardizeModule(image_size, aspect), local)
        storage.copy_tree(local, folder)
