"""schema.pbtxt: the types and domains of a record's keys."""

from __future__ import annotations

import pytest

from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.record_schema import feature_kinds, parse_record_schema, record_schema, record_schema_bytes
from pipelines.dataset.record_spec import RecordSpec
from pipelines.prepare.examples import image_example

DESCRIPTION = {
    "image_size": 32,
    "classes": ["melanoma", "nevus"],
    "encoding": {"format": "jpeg", "quality": 95},
    "splits": {"train": {"folds": [{"fold": 0}, {"fold": 1}, {"fold": 2}]}},
}


def test_a_schema_comes_back_from_its_bytes() -> None:
    content = record_schema_bytes(DESCRIPTION)
    assert content == record_schema_bytes(dict(reversed(DESCRIPTION.items())))
    assert parse_record_schema(content) == record_schema(DESCRIPTION)


def test_domains_follow_from_classes_size_and_folds() -> None:
    features = {feature.name: feature for feature in record_schema(DESCRIPTION).feature}
    bounds = {
        name: (one.int_domain.min, one.int_domain.max) for name, one in features.items() if one.HasField("int_domain")
    }
    assert bounds["image/height"] == bounds["image/width"] == (32, 32)
    assert bounds["image/class/label"] == (0, 1)
    assert bounds["image/fold"] == (-1, 2)
    assert list(features["image/class/text"].string_domain.value) == ["melanoma", "nevus"]
    assert features["image/encoded"].HasField("image_domain")
    raw = record_schema({**DESCRIPTION, "encoding": {"format": "raw"}})
    assert not next(one for one in raw.feature if one.name == "image/encoded").HasField("image_domain")


def test_the_schema_names_the_keys_and_kinds_of_a_record() -> None:
    record = ImageRow("a", "a", sha256="ab", label="nevus")
    features = parse_example(image_example(record, b"jpeg", 0, RecordSpec(("melanoma", "nevus"), 32)))
    assert feature_kinds(record_schema(DESCRIPTION)) == {name: one.WhichOneof("kind") for name, one in features.items()}


@pytest.mark.parametrize("content", [b"feature {", b"feature { name: 3 }", b"colour: 'red'"])
def test_what_is_no_schema_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^\d+:\d+ : "):
        parse_record_schema(content)
