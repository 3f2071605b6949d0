"""Make and read schema.pbtxt: the TensorFlow Metadata schema of the raw records, with types and domains of all keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

RECORD_SCHEMA = "schema.pbtxt"


# Type in the schema -> field of tf.train.Feature that holds its values.
KINDS = {schema_pb2.BYTES: "bytes_list", schema_pb2.INT: "int64_list", schema_pb2.FLOAT: "float_list"}


def record_schema(description: Mapping[str, Any]) -> schema_pb2.Schema:
    """Return the schema of the records of a dataset.

    Every record has every key, with exactly one value.

    Args:
        description: The content of dataset.json.
    """
    schema = schema_pb2.Schema()

    def add(name: str, kind: schema_pb2.FeatureType) -> schema_pb2.Feature:
        feature = schema.feature.add(name=name, type=kind)
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        feature.shape.SetInParent()
        return feature

    def text(name: str, *values: str) -> None:
        feature = add(name, schema_pb2.BYTES)
        if values:
            feature.string_domain.name = name
            feature.string_domain.value.extend(values)

    def number(name: str, low: int, high: int | None = None, categorical: bool = False) -> None:
        domain = add(name, schema_pb2.INT).int_domain
        domain.name = name
        domain.min = low
        if high is not None:
            domain.max = high
        if categorical:
            domain.is_categorical = True

    size, classes, form = description["image_size"], description["classes"], description["encoding"]["format"]
    encoded = add("image/encoded", schema_pb2.BYTES)
    if form != "raw":
        encoded.image_domain.SetInParent()
    text("image/format", form)
    number("image/height", size, size)
    number("image/width", size, size)
    text("image/key/sha256")
    text("image/source_id")
    number("image/class/label", 0, len(classes) - 1, categorical=True)
    text("image/class/text", *classes)
    text("image/lesion_id")
    text("image/group_id")
    number("image/fold", -1, len(description["splits"]["train"]["folds"]) - 1, categorical=True)
    number("image/augmentation/copy", 0)
    return schema


def record_schema_bytes(description: Mapping[str, Any]) -> bytes:
    """Return the content of schema.pbtxt; the same bytes for the same description.

    Args:
        description: The content of dataset.json.
    """
    return text_format.MessageToString(record_schema(description), as_utf8=True).encode()


def parse_record_schema(content: bytes) -> schema_pb2.Schema:
    """Parse the content of schema.pbtxt.

    Args:
        content: The file.

    Raises:
        ValueError: The content is not a schema in text format.
    """
    try:
        return text_format.Parse(content.decode(), schema_pb2.Schema())
    except text_format.ParseError as error:
        raise ValueError(str(error)) from error


def feature_kinds(schema: schema_pb2.Schema) -> dict[str, str]:
    """Return, for each key of a record, which field of tf.train.Feature holds its value."""
    return {feature.name: KINDS[feature.type] for feature in schema.feature}
