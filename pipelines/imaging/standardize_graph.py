"""Build `images.standardize` and `encoding.encode` as one TensorFlow graph, saved with the dataset as `standardize_fn`.

The graph turns the bytes of a JPEG or PNG file into what prepare stores in `image/encoded`, so that the exported model
sees the pixels it was trained on. For JPEG and raw records the bytes are identical; for PNG records, the pixels are.
All arithmetic uses integers, or floats that hold integers.
"""

from __future__ import annotations

import tensorflow as tf

from pipelines.imaging import images
from pipelines.imaging.forms import JPEG_QUALITY
from pipelines.imaging.graph_checks import refuse_unless
from pipelines.imaging.jpeg_graph import whole_jpeg
from pipelines.imaging.png import SIGNATURE
from pipelines.imaging.png_graph import decode_png

_JPEG_AND_PNG = (
    "the model takes JPEG and PNG; python -m pipelines.score takes this file if it is BMP, GIF, TIFF, WebP, AVIF or "
    "JPEG 2000"
)
# PRECISION_BITS of Pillow's Resample.c.
_WEIGHT_BITS = 32 - 8 - 2


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
        whole = whole_jpeg(data)
        shape = tf.io.extract_jpeg_shape(whole)
        smaller, least = tf.reduce_min(shape[:2]), max(size, images.SHARED_SIDE)
        side = tf.reduce_max(shape[:2]) if aspect == "pad" and size > images.SHARED_SIDE else smaller
        branch = sum(
            tf.cast(tf.logical_and(side >= factor * least, smaller >= factor), tf.int32) for factor in (2, 4, 8)
        )

        def reduced(factor: int) -> tf.Tensor:
            return tf.io.decode_jpeg(whole, channels=3, ratio=factor, dct_method="INTEGER_ACCURATE")

        # The default argument binds the factor of this iteration.
        branches = [lambda factor=factor: reduced(factor) for factor in (1, 2, 4, 8)]
        return _orient(tf.switch_case(branch, branches), _orientation(data))

    def png() -> tf.Tensor:
        # TensorFlow's operation for PNG takes other formats too, with other pixels than Pillow.
        is_png = tf.strings.substr(data, 0, len(SIGNATURE)) == SIGNATURE
        with refuse_unless(is_png, _JPEG_AND_PNG):
            return decode_png(tf.identity(data))

    return tf.cond(tf.io.is_jpeg(data), jpeg, png)


def _resize_weights(length: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return Pillow's weights for resizing `length` pixels to `size`; int32 scalars known only when the graph runs.

    The same operations on float64, in the same order, as `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's
    Resample.c, so that every rounding is the same.

    Returns:
        For each output pixel the positions of its sources and their weights in steps of 2**-22, int32 [size, taps].
        Positions beyond the image have weight 0 and are clipped to one that exists.
    """
    # The optimiser would turn a division by a constant into a product with its reciprocal, which rounds differently.
    # It cannot know that the least of a length and 0 is 0.
    size = tf.maximum(size, tf.minimum(length, 0))
    scale = tf.cast(length, tf.float64) / tf.cast(size, tf.float64)
    support = tf.maximum(scale, 1.0)
    narrow = 1.0 / support
    centre = (tf.cast(tf.range(size), tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centre - support + 0.5, tf.int32), 0)
    end = tf.minimum(tf.cast(centre + support + 0.5, tf.int32), length)
    source = first[:, None] + tf.range(tf.reduce_max(end - first))
    distance = tf.abs((tf.cast(source, tf.float64) - centre[:, None] + 0.5) * narrow)
    inside = tf.logical_and(distance < 1.0, source < end[:, None])
    weights = tf.where(inside, 1.0 - distance, tf.constant(0.0, tf.float64))
    # A cumulative sum adds from the left, as Pillow does; reduce_sum need not.
    weights = weights / tf.cumsum(weights, axis=1)[:, -1:]
    return tf.minimum(source, length - 1), tf.cast(0.5 + weights * float(1 << _WEIGHT_BITS), tf.int32)


def _resize_rows(pixels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resize axis 0 of uint8 [length, m, 3] to [size, m, 3] as one pass of Pillow's does."""
    length, width = tf.shape(pixels)[0], tf.shape(pixels)[1]

    def resized() -> tf.Tensor:
        sources, weights = _resize_weights(length, size)

        def add(tap: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            values = tf.cast(tf.gather(pixels, sources[:, tap]), tf.int32)
            return tap + 1, sums + values * weights[:, tap, None, None]

        # 255 * (2**22 + the rounding of the weights) + 2**21 < 2**31.
        half = tf.fill(tf.stack([size, width, 3]), 1 << (_WEIGHT_BITS - 1))
        _, sums = tf.while_loop(
            lambda tap, sums: tap < tf.shape(weights)[1],
            add,
            (tf.constant(0), half),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, 3])),
        )
        return tf.cast(tf.clip_by_value(tf.bitwise.right_shift(sums, _WEIGHT_BITS), 0, 255), tf.uint8)

    return tf.cond(length == size, lambda: pixels, resized)


def _resize(pixels: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Resize uint8 [h, w, 3] to [height, width, 3]; the same as `images.resize`."""

    def columns(image: tf.Tensor) -> tf.Tensor:
        return tf.transpose(_resize_rows(tf.transpose(image, [1, 0, 2]), width), [1, 0, 2])

    shape = tf.shape(pixels)
    # The two lines of Pillow's Image.resize that decide on the order of the passes.
    rows_first = tf.logical_and(shape[0] > 100 * shape[1], height < shape[0])
    return tf.cond(
        rows_first,
        lambda: columns(_resize_rows(pixels, height)),
        lambda: _resize_rows(columns(pixels), height),
    )


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
    inner = _resize(pixels, inner_height, inner_width)
    return tf.pad(inner, [[top, size - top - inner_height], [left, size - left - inner_width], [0, 0]])


def _encode(pixels: tf.Tensor, encoding: str) -> tf.Tensor:
    """Encode uint8 [size, size, 3] like `encoding.encode`; a PNG has the same pixels but different bytes."""
    if encoding == "jpeg":
        return tf.io.encode_jpeg(pixels, format="rgb", quality=JPEG_QUALITY, chroma_downsampling=False)
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
        aspect: One of `forms.ASPECTS`.
        encoding: One of `forms.ENCODINGS`.
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
            tf.errors.InvalidArgumentError: The file cannot be decoded, or is neither JPEG nor PNG.
        """
        # These operations on integers have no kernels for a GPU.
        with tf.device("/CPU:0"):
            pixels = _fit(_decode(image_bytes, self._size, self._aspect), self._size, self._aspect)
            pixels = tf.ensure_shape(pixels, [self._size, self._size, 3])
            return _encode(pixels, self._encoding)
