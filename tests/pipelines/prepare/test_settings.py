"""What dataset.json says of how the bytes were made."""

from __future__ import annotations

from pipelines.prepare.settings import pixel_versions


def test_what_decides_bytes_is_named_where_it_does() -> None:
    plain = pixel_versions()
    assert set(pixel_versions("png", "gzip")) - set(plain) == {"png_zlib_ng", "gzip_zlib"}
    assert pixel_versions("raw") == plain
