"""Walk the markers of a JPEG, and judge by them whether it has its end and all of its scans.

Decoders differ in what they make of a file that stops early: one draws what it has, another refuses it, and how the
missing detail of a progressive file is guessed depends on the version. `jpeg_graph` does the same in TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

END = b"\xff\xd9"
APP14, DHT, EOI, SOS = 0xEE, 0xC4, 0xD9, 0xDA
# What nothing but a colour profile, a preview, metadata or a comment is in.
_NOT_FOR_PIXELS = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
# JFIF's segment. Shorter ones do not count.
_APP0, _JFIF_BYTES = 0xE0, 14
_APP2 = 0xE2
# Baseline and extended sequential, Huffman coded.
SEQUENTIAL = (0xC0, 0xC1)
# Huffman and arithmetically coded.
PROGRESSIVE = (0xC2, 0xCA)
# DHT, JPG and DAC lie among the frame headers' numbers.
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}
COEFFICIENTS = 64
# Restarts and TEM, which have no content. Pillow does not know all of them.
BARE = frozenset({0x01, *range(0xD0, 0xD8)})
# In pixel data 0xff is followed by a zero byte, or is part of a restart marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class Segment(NamedTuple):
    """A marker of a JPEG with its content."""

    kind: int
    start: int  # of the marker
    end: int  # behind the content
    body: bytes


def segments(data: bytes, position: int = 2) -> Iterator[Segment]:
    """Yield the segments from a position on, up to and including the next scan's header."""
    while position + 4 <= len(data) and data[position] == 0xFF:
        kind = data[position + 1]
        if kind == 0xFF:  # fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield Segment(kind, position, end, data[position + 4 : end])
        if kind == SOS:
            return
        position = end


def without_profiles(data: bytes) -> bytes:
    """Return a JPEG without the segments of the kind that holds colour profiles, which are not used."""
    return _without(data, lambda segment: segment.kind == _APP2)


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG without the segments that libjpeg makes nothing of."""
    return _without(
        data,
        lambda segment: segment.kind in _NOT_FOR_PIXELS or (segment.kind == _APP0 and len(segment.body) < _JFIF_BYTES),
    )


def _without(data: bytes, is_dropped: Callable[[Segment], bool]) -> bytes:
    dropped = [segment for segment in segments(data) if is_dropped(segment)]
    starts = [0, *(segment.end for segment in dropped)]
    ends = [*(segment.start for segment in dropped), len(data)]
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def require_whole_jpeg(data: bytes) -> None:
    """Raise ValueError unless a JPEG has an end marker and, if it is progressive, all scans.

    Args:
        data: A JPEG file.

    Raises:
        ValueError: What is wrong, as the end of a sentence about the file.
    """
    frame = scan = None
    for segment in segments(data):
        if segment.kind in FRAMES:
            frame = segment
        elif segment.kind == SOS:
            scan = segment
        elif segment.kind in BARE:
            raise ValueError(f"has a marker in its header that belongs elsewhere: {segment.kind:#x}")
    if frame is None or scan is None:
        return  # the decoder says what is wrong
    if not data.endswith(END) and data.find(END, scan.end) < 0:
        raise ValueError("has no end marker: the last bytes are missing")
    if frame.kind in PROGRESSIVE and not _has_all_scans(data, frame, scan):
        raise ValueError("lacks scans: of a progressive JPEG the last details are missing")


def _has_all_scans(data: bytes, frame: Segment, scan: Segment) -> bool:
    """Return whether the scans of a progressive JPEG give every coefficient of every component to its last bit."""
    # The lowest bit that is known of each coefficient, by component id; that of an unknown one is never 0.
    missing = {component: [1] * COEFFICIENTS for component in frame.body[6::3]}
    while True:
        count = scan.body[0] if scan.body else 0
        chosen, parameters = scan.body[1 : 1 + 2 * count : 2], scan.body[1 + 2 * count :]
        if len(parameters) < 3:
            return False
        first, last, bits = parameters[:3]
        for component in missing.keys() & set(chosen):
            missing[component][first : last + 1] = [bits & 15] * max(0, min(last + 1, COEFFICIENTS) - first)
        marker = _NEXT_MARKER.search(data, scan.end)
        following = list(segments(data, marker.start())) if marker and marker[0] != END else []
        if not following or following[-1].kind != SOS:
            return not any(map(any, missing.values()))
        scan = following[-1]
