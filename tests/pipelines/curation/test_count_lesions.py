"""Values that name many images as one lesion are found, whatever they are, and series of photographs are not."""

from __future__ import annotations

from pipelines.curation.count_lesions import FrequentLesions
from tests.support.collecting import run
from tests.support.image_rows import row


def _found(total: int, **images: int) -> list[list]:
    """What is found among images of which some have a lesion id."""
    ids = tuple(name for name, count in images.items() for _ in range(count))
    rows = [row(str(n), lesion_ids=ids[n : n + 1]) for n in range(total)]
    return run(rows, FrequentLesions())


def test_a_value_of_over_a_twentieth_of_the_images_is_found_the_most_frequent_first() -> None:
    assert _found(100, nothing=6, see_notes=20, HAM_1=5) == [
        [
            {"lesion_id": "see_notes", "images": 20, "of": 100},
            {"lesion_id": "nothing", "images": 6, "of": 100},
        ]
    ]


def test_a_few_photographs_of_a_lesion_in_a_small_set_are_not() -> None:
    assert _found(10, HAM_1=4) == [[]]
    assert _found(10, HAM_1=5) == [[{"lesion_id": "HAM_1", "images": 5, "of": 10}]]
    assert _found(0) == [[]]
