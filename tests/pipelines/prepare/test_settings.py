"""What dataset.json says of how the bytes were made."""

from __future__ import annotations

from pipelines.prepare.settings import pixel_versions


def test_what_decides_bytes_is_named_where_it_does() -> None:
    plain = pixel_versions()
    # No zlib, which only inflates here. Which of those in a process Pillow names depends on what was imported first.
    libraries = {"pillow", "libjpeg_turbo", "numpy", "tensorflow", "tensorflow_transform", "apache_beam"}
    assert set(plain) == {"record_format", *libraries}
    assert set(pixel_versions("png", "gzip")) - set(plain) == {"png_zlib_ng", "gzip_zlib"}
    assert pixel_versions("raw") == plain
