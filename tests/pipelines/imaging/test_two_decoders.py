"""Prepare and the exported graph are one judge: both take the same files, with the same pixels, or both refuse them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.imaging import images
from pipelines.imaging.png import SIGNATURE
from tests.support.image_files import encode, photograph, png, png_chunks
from tests.support.image_mutations import jpeg, jpeg_parts, mutations

Verdict = bytes | str
# The graph says so of every file that it does not read, whatever is wrong with it.
OTHER_FORMAT = "the model takes JPEG and PNG"
# A JPEG has no checksum. What libjpeg warns about in its pixel data, TensorFlow passes over.
UNSEEN = re.compile(r"undecodable: (Corrupt JPEG data: |pixel data have a hole)")


@pytest.fixture(scope="module")
def graph() -> Callable[[bytes], Verdict]:
    """Gives the pixels of a file, or the reason for refusing it."""
    import tensorflow as tf

    from pipelines.imaging.standardize_graph import StandardizeModule

    module = StandardizeModule(64, "stretch", "raw")

    def judge(data: bytes) -> Verdict:
        try:
            pixels: bytes = module.standardize(tf.constant(data)).numpy()
        except tf.errors.InvalidArgumentError as error:
            told = re.search(rf"\[(\w+: [^\]]*|{OTHER_FORMAT}[^\]]*)\]", error.message)
            # What the decoder itself says is about damage.
            return told[1] if told else f"undecodable: {error.message}"
        return pixels

    return judge


def prepare(data: bytes) -> Verdict:
    try:
        return images.standardize(data, 64, "stretch").tobytes()
    except images.BadImage as error:
        return str(error)


def agree(ours: Verdict, graphs: Verdict) -> bool:
    if isinstance(ours, bytes) or isinstance(graphs, bytes):
        return ours == graphs
    return ours.split(":")[0] == graphs.split(":")[0]


@pytest.mark.parametrize(("count", "seed"), [(300, 0), pytest.param(10_000, 1, marks=pytest.mark.proof)])
def test_damaged_and_odd_files_have_one_verdict(graph: Callable[[bytes], Verdict], count: int, seed: int) -> None:
    differing, taken, refused, unseen = [], 0, 0, 0
    for name, data in mutations(count, seed):
        ours, graphs = prepare(data), graph(data)
        if not data.startswith((b"\xff\xd8\xff", SIGNATURE)):
            assert isinstance(graphs, str), name
            assert graphs.startswith(OTHER_FORMAT), name
        elif isinstance(graphs, bytes) and isinstance(ours, str) and UNSEEN.match(ours):
            unseen += 1
        elif not agree(ours, graphs):
            differing.append((name, ours[:60], graphs[:60]))
        elif isinstance(ours, bytes):
            taken += 1
        else:
            refused += 1
    assert not differing, f"{len(differing)} of {count}: {differing[:5]}"
    assert taken > count / 5
    assert refused > count / 5
    assert unseen < count / 8


def judged_alike(graph: Callable[[bytes], Verdict], data: bytes) -> Verdict:
    ours, graphs = prepare(data), graph(data)
    assert agree(ours, graphs), (ours[:60], graphs[:60])
    return ours


def test_a_jpeg_without_its_last_bytes_is_refused(graph: Callable[[bytes], Verdict]) -> None:
    for seed in range(4):
        for options in ({}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}):
            whole = encode(photograph(90, 70, seed), **options)
            for lost in (1, 2, 3, 6):
                verdict = judged_alike(graph, whole[:-lost])
                assert isinstance(verdict, str), (seed, options, lost)
                assert verdict.startswith("undecodable: ")
            assert isinstance(judged_alike(graph, whole + bytes(5)), bytes)


def test_a_progressive_jpeg_without_its_last_scans_is_refused(graph: Callable[[bytes], Verdict]) -> None:
    for options in ({}, {"mode": "L"}, {"subsampling": 0}):
        parts = jpeg_parts(encode(photograph(90, 70), progressive=True, **options))
        scans = [place for place, (kind, _, _) in enumerate(parts) if kind == 0xDA]
        assert isinstance(judged_alike(graph, jpeg(parts)), bytes)
        for place in scans:
            assert "lacks scans" in str(judged_alike(graph, jpeg(parts[:place]))) or place == scans[0]
            assert isinstance(judged_alike(graph, jpeg(parts[:place] + parts[place + 1 :])), str)


def test_chunks_that_pixels_do_not_need_decide_nothing(graph: Callable[[bytes], Verdict]) -> None:
    """Decoders differ about them: limits on text, wrong lengths, damage."""
    plain = png_chunks(encode(photograph(90, 70), "PNG"))
    wanted = prepare(png(plain))
    text = encode(photograph(90, 70), "PNG", pnginfo=_large_text())
    assert judged_alike(graph, text) == wanted
    for extra in (
        (b"iCCP", b"profile\0\x09"),
        (b"sBIT", b"\x09"),
        (b"acTL", bytes(8)),
        (b"tRNS", b""),
        (b"eXIf", b"x"),
    ):
        odd = png([plain[0], extra, *plain[1:]])
        assert judged_alike(graph, odd) == wanted, extra
        behind = odd.index(extra[0]) + 4 + len(extra[1])
        wrong_sum = odd[:behind] + b"?" + odd[behind + 1 :]
        assert judged_alike(graph, wrong_sum) == wanted, extra


def test_a_side_or_an_area_beyond_the_limits_is_too_large_for_both(graph: Callable[[bytes], Verdict]) -> None:
    header = png_chunks(encode(photograph(1, 1), "PNG"))
    for width, height in ((8001, 8000), (1_000_001, 1), (2**31 - 1, 2**31 - 1), (2**32 - 1, 2)):
        sides = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        large = png([(b"IHDR", sides + header[0][1][8:]), *header[1:]])
        assert str(judged_alike(graph, large)).startswith("too_large: ")
    parts = jpeg_parts(encode(photograph(16, 16)))
    frame = next(place for place, part in enumerate(parts) if part[0] == 0xC0)
    kind, body, pixels = parts[frame]
    parts[frame] = (kind, body[:1] + (8001).to_bytes(2, "big") + (8000).to_bytes(2, "big") + body[5:], pixels)
    assert str(judged_alike(graph, jpeg(parts))).startswith("too_large: ")


def _large_text() -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", " " * (2 << 20), zip=True)
    return info
