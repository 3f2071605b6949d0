"""Parse tf.train.Example without TensorFlow, whose import takes four seconds and 700 MB in every process.

The messages are declared as in tensorflow/core/example/{example,feature}.proto. They are in a separate descriptor pool,
so that they do not conflict with TensorFlow's own if both are loaded.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow"


def _example_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package=_PACKAGE, syntax="proto3")

    def message(name: str) -> descriptor_pb2.DescriptorProto:
        return file.message_type.add(name=name)

    def field(
        to: descriptor_pb2.DescriptorProto, name: str, number: int, of: str | int, repeated: bool = False
    ) -> descriptor_pb2.FieldDescriptorProto:
        label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        added = to.field.add(name=name, number=number, label=label)
        if isinstance(of, str):
            added.type, added.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{of}"
        else:
            added.type = of
        return added

    lists = (
        ("BytesList", "bytes_list", _Field.TYPE_BYTES),
        ("FloatList", "float_list", _Field.TYPE_FLOAT),
        ("Int64List", "int64_list", _Field.TYPE_INT64),
    )
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, (kind, name, of) in enumerate(lists, 1):
        field(message(kind), "value", 1, of, repeated=True)
        field(feature, name, number, kind).oneof_index = 0
    features = message("Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    field(entry, "key", 1, _Field.TYPE_STRING)
    field(entry, "value", 2, "Feature")
    field(features, "feature", 1, "Features.FeatureEntry", repeated=True)
    field(message("Example"), "features", 1, "Features")
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_example_file())
Example = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def parse_example(data: bytes) -> dict[str, Message]:
    """Parse a serialised tf.train.Example.

    Args:
        data: The serialised message.

    Returns:
        Key -> its Feature.

    Raises:
        ValueError: The data are not a tf.train.Example.
    """
    example = Example()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise ValueError("is no tf.train.Example") from error
    return dict(example.features.feature)
