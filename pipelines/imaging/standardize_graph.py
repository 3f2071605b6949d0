"""Build `images.standardize` and `encoding.encode` as one TensorFlow graph, saved with the dataset as `standardize_fn`.

The graph turns the bytes of any image file into what prepare stores in `image/encoded`, so that the exported model sees
the pixels it was trained on. For JPEG and raw records the bytes are identical; for PNG records, the pixels are. All
arithmetic uses integers, or floats that hold integers.
"""

from __future__ import annotations

import tensorflow as tf

from pipelines.imaging import images


def _exif(data: tf.Tensor) -> tf.Tensor:
    """Return the TIFF structure of the first EXIF segment, uint8 [n] or empty; the same as `images._exif`."""
    head = tf.io.decode_raw(tf.strings.substr(data, 0, images.HEADER_REACH), tf.uint8)
    size = tf.size(head)
    marker = tf.constant(list(images.EXIF_MARKER), tf.uint8)

    def byte(position: tf.Tensor) -> tf.Tensor:
        return tf.cast(head[position], tf.int32)

    def end_of(position: tf.Tensor) -> tf.Tensor:
        return position + 2 + byte(position + 2) * 256 + byte(position + 3)

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        start = head[position + 4 : position + 10]
        return tf.logical_and(
            byte(position + 1) == 0xE1,
            tf.logical_and(tf.size(start) == 6, tf.reduce_all(tf.equal(start, marker[: tf.size(start)]))),
        )

    def is_segment(position: tf.Tensor) -> tf.Tensor:
        def looked_at() -> tf.Tensor:
            kind = byte(position + 1)
            return tf.logical_and(byte(position) == 0xFF, tf.logical_and(kind != 0xD9, kind != 0xDA))

        return tf.cond(position + 4 <= size, looked_at, lambda: False)

    def goes_on(position: tf.Tensor) -> tf.Tensor:
        return tf.cond(is_segment(position), lambda: tf.logical_not(is_exif(position)), lambda: False)

    (position,) = tf.while_loop(goes_on, lambda position: (end_of(position),), (tf.constant(2),))
    return tf.cond(is_segment(position), lambda: head[position + 10 : end_of(position)], lambda: head[:0])


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """Return the EXIF orientation of a JPEG's bytes, int32 1 to 8; the same as `images.orientation_of`."""
    tiff = _exif(data)
    size = tf.size(tiff)
    # The zeros at the end keep all look-ups below in range.
    tiff = tf.concat([tf.cast(tiff, tf.int64), tf.zeros([16], tf.int64)], axis=0)
    little = tiff[0] == ord("I")

    def number(position: tf.Tensor, width: int) -> tf.Tensor:
        digits = tiff[position : position + width]
        powers = tf.constant([1 << (8 * index) for index in range(width)], tf.int64)
        return tf.reduce_sum(tf.where(little, digits, digits[::-1]) * powers)

    directory = number(tf.constant(4), 4)
    inside = tf.logical_and(directory >= 8, directory + 2 <= tf.cast(size, tf.int64))
    # Without a directory, zero entries are read at a position that exists.
    start = tf.cast(tf.where(inside, directory, 0), tf.int32)
    room = (size - (start + 2)) // 12
    entries = tf.where(inside, tf.minimum(tf.cast(number(start, 2), tf.int32), room), 0)
    starts = start + 2 + 12 * tf.range(entries)
    tags = tf.map_fn(lambda place: number(place, 2), starts, fn_output_signature=tf.int64)
    found = tf.boolean_mask(starts, tags == images.ORIENTATION_TAG)

    def value() -> tf.Tensor:
        is_short = number(found[0] + 2, 2) == images.ORIENTATION_TYPE
        return tf.where(is_short, tf.cast(number(found[0] + 8, 2), tf.int32), 1)

    orientation = tf.cond(tf.size(found) > 0, value, lambda: tf.constant(1))
    return tf.where(tf.logical_and(orientation >= 1, orientation <= 8), orientation, 1)


def _orient(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def one_of(values: list[int]) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(values))

    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    pixels = tf.cond(one_of([2, 3, 6, 7]), lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cond(one_of([3, 4, 7, 8]), lambda: tf.reverse(pixels, [0]), lambda: pixels)


def _decode(data: tf.Tensor, size: int, aspect: str) -> tf.Tensor:
    """Return uint8 [height, width, 3] with the orientation applied; JPEG is shrunk by `images.reduction`."""

    def jpeg() -> tf.Tensor:
        shape = tf.io.extract_jpeg_shape(data)
        side = tf.reduce_max(shape[:2]) if aspect == "pad" else tf.reduce_min(shape[:2])
        smaller = tf.reduce_min(shape[:2])
        branch = sum(
            tf.cast(tf.logical_and(side >= factor * size, smaller >= factor), tf.int32) for factor in (2, 4, 8)
        )

        def reduced(factor: int) -> tf.Tensor:
            return tf.io.decode_jpeg(data, channels=3, ratio=factor, dct_method="INTEGER_ACCURATE")

        # The default argument binds the factor of this iteration.
        branches = [lambda factor=factor: reduced(factor) for factor in (1, 2, 4, 8)]
        return _orient(tf.switch_case(branch, branches), _orientation(data))

    return tf.cond(tf.io.is_jpeg(data), jpeg, lambda: tf.io.decode_png(data, channels=3))


def _resize_weights(length: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Return `images.resize_weights`, float32 [size, length], for int32 scalars known only when the graph runs.

    Weights are computed only within reach of the triangle: most of the matrix is zero, and 64-bit division is slow.
    """
    length, size = tf.cast(length, tf.int64), tf.cast(size, tf.int64)
    output = tf.range(size)[:, None]
    reach, centre = 2 * tf.maximum(length, size), (2 * output + 1) * length - size
    source = (centre - reach) // (2 * size) + 1 + tf.range(reach // size + 1)
    triangle = tf.maximum(reach - tf.abs(2 * size * source - centre), 0)
    triangle = tf.where(tf.logical_and(source >= 0, source < length), triangle, 0)
    weights = triangle * images.WEIGHT_SCALE // tf.reduce_sum(triangle, axis=1, keepdims=True)
    left_over = images.WEIGHT_SCALE - tf.reduce_sum(weights, axis=1)
    heaviest = tf.one_hot(tf.argmax(weights, axis=1), tf.shape(weights)[1], dtype=tf.int64)
    weights = tf.cast(weights + heaviest * left_over[:, None], tf.float32)
    # Sources outside the image have weight zero. Clipping makes them add it at a position that exists.
    places = tf.stack([tf.broadcast_to(output, tf.shape(source)), tf.clip_by_value(source, 0, length - 1)], axis=-1)
    return tf.scatter_nd(places, weights, tf.stack([size, length]))


def _shrink_rows(pixels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resize axis 0 of [length, m] to [size, m]; both are float32 that holds whole numbers up to 255."""

    def shrunk() -> tf.Tensor:
        sums = tf.matmul(_resize_weights(tf.shape(pixels)[0], size), pixels)
        # Exact: whole numbers below 2**24, divided by a power of two.
        return tf.floor((sums + images.WEIGHT_SCALE // 2) * (1.0 / images.WEIGHT_SCALE))

    return tf.cond(tf.shape(pixels)[0] == size, lambda: pixels, shrunk)


def _resize(pixels: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    columns = tf.shape(pixels)[1]
    rows = _shrink_rows(tf.reshape(pixels, [tf.shape(pixels)[0], columns * 3]), height)
    turned = tf.transpose(tf.reshape(rows, [height, columns, 3]), [1, 0, 2])
    done = _shrink_rows(tf.reshape(turned, [columns, height * 3]), width)
    return tf.transpose(tf.reshape(done, [width, height, 3]), [1, 0, 2])


def _fit(pixels: tf.Tensor, size: int, aspect: str) -> tf.Tensor:
    """Make uint8 [h, w, 3] square, uint8 [size, size, 3]; the same as `images.fit`."""
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


def _encode(pixels: tf.Tensor, encoding: str) -> tf.Tensor:
    """Encode uint8 [size, size, 3] like `encoding.encode`; a PNG has the same pixels but different bytes."""
    if encoding == "jpeg":
        return tf.io.encode_jpeg(pixels, format="rgb", quality=images.JPEG_QUALITY, chroma_downsampling=False)
    if encoding == "png":
        # Pillow has its own filters and zlib, so its bytes cannot be reproduced. These bytes are not stored anywhere,
        # so compressing them would be a waste.
        return tf.io.encode_png(pixels, compression=0)
    # No operation turns numbers into a byte string, but a serialised tensor ends with its content.
    count = pixels.shape.num_elements()
    return tf.strings.substr(tf.io.serialize_tensor(pixels), -count, count)


class StandardizeModule(tf.Module):
    """Module whose `standardize` function the trainer exports inside the model.

    Args:
        image_size: Side of the square in pixels.
        aspect: One of `images.ASPECTS`.
        encoding: One of `encoding.ENCODINGS`.
    """

    def __init__(self, image_size: int, aspect: str, encoding: str = "jpeg"):
        super().__init__()
        self._encoding = encoding
        self._size = image_size
        self._aspect = aspect

    # No Python statement here depends on a tensor's value. Letting autograph look for one would add a second to each
    # prepare.
    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="image_bytes")], autograph=False)
    def standardize(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Turn the bytes of an image file into the value of `image/encoded`.

        Args:
            image_bytes: String scalar.

        Returns:
            String scalar; see the module for how it relates to what prepare stores.

        Raises:
            tf.errors.InvalidArgumentError: The file cannot be decoded.
        """
        # On a GPU, TF32 would round the resize weights; on the CPU the product is exact.
        with tf.device("/CPU:0"):
            pixels = _fit(_decode(image_bytes, self._size, self._aspect), self._size, self._aspect)
            pixels = tf.ensure_shape(pixels, [self._size, self._size, 3])
            return _encode(pixels, self._encoding)
