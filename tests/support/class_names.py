"""Classes of labels, for tests."""

from __future__ import annotations

from pipelines.domain import taxonomy


def classes(name: str, *labels: str) -> tuple[str, ...]:
    return taxonomy.built_in_set(name).classes_of(labels)


ISIC9 = taxonomy.built_in_set("isic9")
