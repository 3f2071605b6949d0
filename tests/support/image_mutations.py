"""Image files that are damaged or oddly built, the same ones for the same seed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tests.support.image_files import (
    ARITHMETIC,
    encode,
    exif,
    interlaced,
    photograph,
    png,
    png_chunks,
    without_adobe_marker,
)

Chunks = list[tuple[bytes, bytes]]
# A marker of a JPEG with its content, and the pixel data behind it.
Part = tuple[int, bytes, bytes]
_END = b"\xff\xd9"
_SMALL = photograph(80, 64)


def _raw_png(depth: int, colour: int, samples: int, seed: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of noise in a form that Pillow does not write."""
    width, height = 70, 65
    bytes_a_row = (width * samples * depth + 7) // 8
    noise = random.Random(seed)
    rows = b"".join(bytes([noise.randrange(5)]) + noise.randbytes(bytes_a_row) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = zlib.compress(rows)
    pieces = [(b"IDAT", packed[start : start + 900]) for start in range(0, len(packed), 900)]
    return png([(b"IHDR", header), *more, *pieces, (b"IEND", b"")])


def _jpeg_files() -> dict[str, bytes]:
    cmyk = encode(_SMALL, mode="CMYK")
    second = [Image.fromarray(photograph(80, 64, 1))]
    return {
        "baseline": encode(_SMALL),
        "baseline 4:4:4": encode(_SMALL, subsampling=0, optimize=True),
        "baseline to be shrunk": encode(photograph(460, 450)),
        "grey": encode(_SMALL, mode="L"),
        "rgb": encode(_SMALL, keep_rgb=True),
        "progressive": encode(_SMALL, progressive=True),
        "progressive grey": encode(_SMALL, mode="L", progressive=True),
        "progressive 4:4:4": encode(_SMALL, progressive=True, subsampling=0, quality=50),
        "cmyk": cmyk,
        "cmyk without Adobe's marker": without_adobe_marker(cmyk),
        "progressive cmyk": encode(_SMALL, mode="CMYK", progressive=True),
        "restart": encode(_SMALL, restart_marker_blocks=3),
        "turned": encode(_SMALL, exif=exif(6)),
        "arithmetic": ARITHMETIC,
        "mpo": encode(_SMALL, "MPO", save_all=True, append_images=second),
    }


def _png_files() -> dict[str, bytes]:
    palette = (b"PLTE", bytes(random.Random(0).randbytes(48)))
    return {
        "rgb": encode(_SMALL, "PNG"),
        "grey": encode(_SMALL, "PNG", "L"),
        "alpha": encode(_SMALL, "PNG", "RGBA"),
        "grey with alpha": encode(_SMALL, "PNG", "LA"),
        "palette": encode(_SMALL, "PNG", "P"),
        "palette with transparency": encode(_SMALL, "PNG", "P", transparency=3),
        "black and white": encode(_SMALL, "PNG", "1"),
        "16 bit grey": encode(_SMALL[:, :, 0].astype(np.uint16) * 250 + 77, "PNG"),
        "interlaced": interlaced(_SMALL),
        "2 bit grey": _raw_png(2, 0, 1, 1),
        "4 bit grey": _raw_png(4, 0, 1, 2),
        "4 bit palette": _raw_png(4, 3, 1, 3, palette),
        "16 bit colours": _raw_png(16, 2, 3, 4),
        "16 bit alpha": _raw_png(16, 6, 4, 5),
        "16 bit grey with alpha": _raw_png(16, 4, 2, 6),
        "animation": encode(_SMALL, "PNG", save_all=True, append_images=[Image.fromarray(photograph(80, 64, 1))]),
    }


def _other_files() -> dict[str, bytes]:
    kinds = ("BMP", "GIF", "TIFF", "WEBP", "JPEG2000")
    return {kind: encode(_SMALL, kind) for kind in kinds}


# What happens to bytes, whatever the format.


def _bit(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _early_byte(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[draw.randrange(min(len(data), 700))] = draw.choice([0, 1, 2, 255, draw.randrange(256)])
    return bytes(changed)


def _run(fill: Callable[[random.Random, int], bytes]) -> Callable[[bytes, random.Random], bytes]:
    def change(data: bytes, draw: random.Random) -> bytes:
        start, length = draw.randrange(len(data)), draw.choice([2, 8, 40, 300])
        length = min(length, len(data) - start)
        return data[:start] + fill(draw, length) + data[start + length :]

    return change


def _lost(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice([1, 2, 16, 300]) :]


def _twice(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[: start + draw.choice([1, 2, 16, 300])] + data[start:]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.choice([draw.randrange(1, len(data)), len(data) - draw.randrange(1, 14)])]


def _cut_with_end(data: bytes, draw: random.Random) -> bytes:
    return _cut(data, draw) + _END


def _trailing(data: bytes, draw: random.Random) -> bytes:
    return data + draw.choice([bytes(9), _END, data, draw.randbytes(30)])


_OF_BYTES = {
    "bit": _bit,
    "early byte": _early_byte,
    "zeros": _run(lambda draw, length: bytes(length)),
    "ones": _run(lambda draw, length: b"\xff" * length),
    "noise": _run(lambda draw, length: draw.randbytes(length)),
    "lost": _lost,
    "twice": _twice,
    "cut": _cut,
    "cut with end": _cut_with_end,
    "trailing": _trailing,
}


# What happens to the parts of a file; they are put together again as they should be.


def _reordered(parts: list, draw: random.Random) -> list:
    one, other = draw.randrange(len(parts)), draw.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]
    return parts


def _repeated(parts: list, draw: random.Random) -> list:
    parts.insert(draw.randrange(len(parts) + 1), draw.choice(parts))
    return parts


def _dropped(parts: list, draw: random.Random) -> list:
    del parts[draw.randrange(len(parts))]
    return parts


def _altered(body: bytes, draw: random.Random) -> bytes:
    how = draw.randrange(4)
    if not body or how == 0:
        return body + draw.randbytes(draw.choice([1, 2, 3]))
    place = draw.randrange(len(body))
    if how == 1:
        return body[:place] + body[place + 1 :]
    return body[:place] + bytes([draw.choice([0, 1, 2, 3, 4, 8, 16, 255, draw.randrange(256)])]) + body[place + 1 :]


def _chunk_altered(chunks: Chunks, draw: random.Random) -> Chunks:
    place = draw.randrange(len(chunks))
    chunks[place] = (chunks[place][0], _altered(chunks[place][1], draw))
    return chunks


def _header_altered(chunks: Chunks, draw: random.Random) -> Chunks:
    header = bytearray(chunks[0][1])
    place = draw.choice([2, 3, 6, 7, 8, 9, 10, 11, 12, 12])
    header[place] = draw.choice([0, 1, 2, 3, 4, 6, 8, 16, 200])
    return [(chunks[0][0], bytes(header)), *chunks[1:]]


def _palette_altered(chunks: Chunks, draw: random.Random) -> Chunks:
    length = draw.choice([0, 1, 3, 12, 31, 48, 765, 768, 771, 900])
    chunks = [chunk for chunk in chunks if chunk[0] != b"PLTE"] if draw.random() < 0.8 else chunks
    chunks.insert(draw.choice([1, 1, 1, len(chunks) - 1, draw.randrange(len(chunks) + 1)]), (b"PLTE", bytes(length)))
    return chunks


def _kind_altered(chunks: Chunks, draw: random.Random) -> Chunks:
    place = draw.randrange(len(chunks))
    kind = draw.choice(
        [b"QQQQ", b"qqqq", b"\0\0\0\0", b"IDAT", b"IEND", b"PLTE", bytes([*b"tEX", draw.randrange(256)])]
    )
    chunks[place] = (kind, chunks[place][1])
    return chunks


_EXTRAS: Chunks = [
    (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20))),
    (b"zTXt", b"Comment\0\1damaged"),
    (b"iCCP", b"profile\0\x09" + bytes(9)),
    (b"iCCP", b"profile\0\0" + zlib.compress(bytes(200))),
    (b"sBIT", b"\x09"),
    (b"gAMA", struct.pack(">I", 45455)),
    (b"gAMA", b""),
    (b"cHRM", bytes(32)),
    (b"eXIf", b"x"),
    (b"eXIf", exif(6)[6:]),
    (b"acTL", struct.pack(">II", 2, 0)),
    (b"fdAT", bytes(12)),
    (b"tRNS", b"\0\1"),
    (b"tRNS", bytes(300)),
    (b"bKGD", bytes(6)),
    (b"tIME", bytes(7)),
    (b"iTXt", b"\xff" * 20),
    (b"IDAT", b""),
    (b"IDAT", bytes(20)),
    (b"QQQQ", b"needed"),
    (b"qQQQ", b"not needed"),
    (b"IEND", b""),
]


def _extra(chunks: Chunks, draw: random.Random) -> Chunks:
    chunks.insert(draw.randrange(1, len(chunks) + 1), draw.choice(_EXTRAS))
    return chunks


def _divided(data: bytes, draw: random.Random) -> Chunks:
    places = sorted(draw.randrange(len(data) + 1) for _ in range(draw.randrange(4))) if data else []
    places.append(len(data) - draw.choice([0, 1, 4, 5, 8]))
    places = sorted(max(0, place) for place in places)
    return [(b"IDAT", data[start:end]) for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def _packed_altered(chunks: Chunks, draw: random.Random) -> Chunks:
    """Pixel data with the right CRCs that are compressed in an odd way."""
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    rows = zlib.decompress(packed)
    how = draw.randrange(10)
    if how == 0:
        packed = packed[: -draw.randrange(1, 9)]
    elif how == 1:
        packed += draw.randbytes(draw.randrange(1, 40))
    elif how == 2:
        packed = packed[:-2] + bytes([packed[-2] ^ 4]) + packed[-1:]
    elif how == 3:
        packed = zlib.compress(rows + bytes(draw.choice([1, 9, 5000])))
    elif how == 4:
        packed = zlib.compress(rows[: -draw.choice([1, 40, 2000])])
    elif how == 5:
        packed = zlib.compress(rows + bytes(draw.choice([1, 9, 5000])))[: -draw.randrange(1, 9)]
    elif how == 6:
        packed = zlib.compress(rows + bytes(900))[:-1] + b"x"
    elif how == 7:
        place = draw.randrange(len(rows))
        packed = zlib.compress(rows[:place] + bytes([draw.randrange(8)]) + rows[place + 1 :])
    elif how == 8:
        packed = zlib.compress(rows, draw.choice([0, 1, 9]))
    else:
        packed = _altered(packed, draw)
    first = next(place for place, chunk in enumerate(chunks) if chunk[0] == b"IDAT")
    others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return [*others[:first], *_divided(packed, draw), *others[first:]]


_OF_CHUNKS: dict[str, Callable[[Chunks, random.Random], Chunks]] = {
    "chunks reordered": _reordered,
    "chunk repeated": _repeated,
    "chunk dropped": _dropped,
    "chunk altered": _chunk_altered,
    "header altered": _header_altered,
    "palette altered": _palette_altered,
    "kind altered": _kind_altered,
    "extra chunk": _extra,
    "pixel data altered": _packed_altered,
}


def jpeg_parts(data: bytes) -> list[Part]:
    """The segments of a JPEG up to its first end marker."""
    parts: list[Part] = []
    position = 2
    while data[position + 1] != _END[1]:
        kind, end = data[position + 1], position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        next_one = end
        if kind == 0xDA:
            while data[next_one] != 0xFF or data[next_one + 1] == 0 or 0xD0 <= data[next_one + 1] <= 0xD7:
                next_one += 1
        parts.append((kind, data[position + 4 : end], data[end:next_one]))
        position = next_one
    return parts


def jpeg(parts: list[Part], end: bytes = _END) -> bytes:
    """A JPEG of these segments."""
    segments = (
        b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body + pixels for kind, body, pixels in parts
    )
    return b"\xff\xd8" + b"".join(segments) + end


def _segment_altered(parts: list[Part], draw: random.Random) -> list[Part]:
    place = draw.randrange(len(parts))
    kind, body, pixels = parts[place]
    parts[place] = (kind, _altered(body, draw), pixels)
    return parts


def _marker_altered(parts: list[Part], draw: random.Random) -> list[Part]:
    place = draw.choice([draw.randrange(len(parts)), *(n for n, part in enumerate(parts) if 0xC0 <= part[0] <= 0xCF)])
    marker = draw.choice([draw.randrange(1, 255), *range(0xC0, 0xD0), 0xDD, 0xFE])
    parts[place] = (marker, *parts[place][1:])
    return parts


def _frame_altered(parts: list[Part], draw: random.Random) -> list[Part]:
    place = next(n for n, part in enumerate(parts) if part[0] in (0xC0, 0xC1, 0xC2, 0xC9))
    kind, body, pixels = parts[place]
    changed = bytearray(body)
    changed[draw.randrange(len(body))] = draw.choice([0, 1, 2, 3, 8, 12, 0x11, 0x12, 0x21, 0x22, 0x41, 64, 255])
    parts[place] = (kind, bytes(changed), pixels)
    return parts


def _scans_dropped(parts: list[Part], draw: random.Random) -> list[Part]:
    scans = [n for n, part in enumerate(parts) if part[0] == 0xDA]
    return parts[: scans[-draw.randrange(1, len(scans) + 1)]]


def _one_scan_dropped(parts: list[Part], draw: random.Random) -> list[Part]:
    del parts[draw.choice([n for n, part in enumerate(parts) if part[0] == 0xDA])]
    return parts


def _segment_extra(parts: list[Part], draw: random.Random) -> list[Part]:
    extra = draw.choice(
        [
            (0xFE, b"comment \xff\xd9 with an end", b""),
            (0xE1, exif(draw.randrange(10)), b""),
            (0xE2, b"ICC_PROFILE\0\x05\x02" + bytes(50), b""),
            (0xEE, b"Adobe\0d\0\0\0\0" + bytes([draw.randrange(4)]), b""),
            (0xEE, b"Adobe\0d\0\0", b""),
            (0xED, b"Photoshop 3.0\0" + draw.choice([b"8BIM\x04", b"8BIM\x03\xed\0\0\0\0\0\x10", b"x"]), b""),
            (0xE1, b"Exif\0\0" + draw.randbytes(draw.randrange(20)), b""),
            (0xE2, b"MPF\0II*\0" + draw.randbytes(draw.randrange(20)), b""),
            (0xE0, b"JFIF\0", b""),
            (0xE0, b"JFIF\0\x07\x07\0\0\1\0\1\0\0", b""),
            (0xDD, bytes([0, draw.randrange(4)]), b""),
            (0xDC, b"\0\x40", b""),
            (0xFE, b"garbage follows", b"garbage"),
            (0xFE, b"fill bytes follow", b"\xff\xff\xff"),
            (0xFE, b"a bare marker follows", b"\xff\x01\xff\xd3"),
            (0xFE, b"another start follows", b"\xff\xd8"),
        ]
    )
    parts.insert(draw.randrange(len(parts) + 1), extra)
    return parts


def _pixels_altered(parts: list[Part], draw: random.Random) -> list[Part]:
    place = draw.choice([n for n, part in enumerate(parts) if part[0] == 0xDA])
    kind, body, pixels = parts[place]
    how = draw.randrange(4)
    if how == 0:
        pixels += bytes(draw.randrange(1, 12))
    elif how == 1:
        pixels += draw.randbytes(draw.randrange(1, 12))
    elif how == 2:
        pixels = pixels[: -draw.randrange(1, 4)]
    else:
        pixels = pixels.replace(b"\xff\xd0", draw.choice([b"", b"\xff\xd1", b"\xff\xd0\xff\xd0"]), 1)
    parts[place] = (kind, body, pixels)
    return parts


_OF_SEGMENTS: dict[str, Callable[[list[Part], random.Random], list[Part]]] = {
    "segments reordered": _reordered,
    "segment repeated": _repeated,
    "segment dropped": _dropped,
    "segment altered": _segment_altered,
    "marker altered": _marker_altered,
    "frame altered": _frame_altered,
    "last scans dropped": _scans_dropped,
    "one scan dropped": _one_scan_dropped,
    "extra segment": _segment_extra,
    "pixel data altered": _pixels_altered,
}


def mutations(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield so many (name, file): each one of a few files, changed in one or two ways."""
    draw = random.Random(seed)
    jpegs, pngs, others = _jpeg_files(), _png_files(), _other_files()
    for _ in range(count):
        share = draw.random()
        files = jpegs if share < 0.5 else pngs if share < 0.95 else others
        name, data = draw.choice(list(files.items()))
        if draw.random() < 0.35 or files is others:
            how, change = draw.choice(list(_OF_BYTES.items()))
            data = change(data, draw)
        elif files is pngs:
            how, rebuild = draw.choice(list(_OF_CHUNKS.items()))
            data = png(rebuild(png_chunks(data), draw))
        else:
            how, mend = draw.choice(list(_OF_SEGMENTS.items()))
            data = jpeg(mend(jpeg_parts(data), draw), draw.choice([_END] * 9 + [b"", bytes(8) + _END]))
        yield f"{name}, {how}", data
