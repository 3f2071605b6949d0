"""tf.train.Example without TensorFlow."""

from __future__ import annotations

import pytest

from pipelines.dataset.example_proto import Example, parse_example


def test_keys_come_with_the_values_of_their_kind() -> None:
    example = Example()
    example.features.feature["text"].bytes_list.value.extend([b"", b"\xff"])
    example.features.feature["number"].int64_list.value.append(-(1 << 63))
    example.features.feature["empty"].float_list.SetInParent()
    found = parse_example(example.SerializeToString())
    assert sorted(found) == ["empty", "number", "text"]
    assert list(found["text"].bytes_list.value) == [b"", b"\xff"]
    assert list(found["number"].int64_list.value) == [-(1 << 63)]
    assert found["empty"].WhichOneof("kind") == "float_list"


def test_no_bytes_are_an_example_without_keys() -> None:
    assert parse_example(b"") == {}


@pytest.mark.parametrize("data", [b"\xff", b"\n\x05abc", b"not an example"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^is no tf\.train\.Example$"):
        parse_example(data)
