"""The spec of records."""

from __future__ import annotations

from typing import Any

from pipelines.dataset.record_spec import RecordSpec


def test_the_quality_is_said_of_jpeg_alone() -> None:
    jpeg, png = (RecordSpec(("a", "b"), encoding=name).settings()["encoding"] for name in ("jpeg", "png"))
    assert jpeg == {"format": "jpeg", "quality": 95}
    assert png == {"format": "png"}


def test_specs_that_differ_in_one_value_are_said_to_differ() -> None:
    spec = RecordSpec(("a", "b"))
    others: list[dict[str, Any]] = [
        {"image_size": 64},
        {"aspect": "pad"},
        {"encoding": "raw"},
        {"compression": "gzip"},
        {"seed": 1},
    ]
    settings = [RecordSpec(spec.classes, **other).settings() for other in others]
    assert all(spec.settings() != one for one in settings)
    assert all(one not in settings[:index] for index, one in enumerate(settings))
