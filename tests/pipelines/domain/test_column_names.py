"""What messages say of the columns of a table."""

from __future__ import annotations

from pipelines.domain.column_names import columns_in, nearest_columns, strange_flags


def test_the_nearest_known_columns_are_named() -> None:
    names = ["ImageId", "dignosis", "sex", "Lesion", "patient id"]
    assert nearest_columns(names) == {"ImageId": "image_id", "dignosis": "diagnosis", "Lesion": "lesion_id"}
    assert columns_in(names, 200) == (
        "ImageId, dignosis, sex, Lesion, patient id; "
        "nearest: ImageId for image_id, dignosis for diagnosis, Lesion for lesion_id"
    )
    assert columns_in(["a\nb", "c"], 200) == "a b, c"


def test_columns_that_find_no_room_are_counted() -> None:
    said = columns_in([f"pixel{number:04}" for number in range(2352)], 80)
    assert said.startswith("pixel0000, pixel0001, ")
    assert said.endswith("... (2352 columns)")
    assert len(said) <= 80


def test_the_first_values_that_are_neither_yes_nor_no_are_named() -> None:
    rows = [{"image": "a", "MEL": "1", "NV": ""}, {"image": "b", "MEL": "0.93", "NV": "x"}, {"image": "c", "MEL": "?"}]
    assert strange_flags(rows, ["MEL", "NV"]) == (
        "has values in column MEL that are neither yes nor no, nor 1 or 0, and count as nothing: '0.93'"
    )
    assert strange_flags(rows[::2], ["MEL", "NV"]) == ""
