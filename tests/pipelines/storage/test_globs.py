"""Patterns of paths, as Beam reads them, and the local files that match."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileSystem
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from pipelines.storage.globs import match_local, matcher

NAMES = ("a.jpg", "b.JPG", ".hidden.jpg", "deep/a.jpg", "deep/er/c.png", "d[1].jpg", "deep/[x/e.jpg")


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@given(st.text("*?[]!^a-z/\\.-", max_size=9))
def test_a_pattern_means_what_beam_takes_it_for(pattern: str) -> None:
    try:
        expected = re.compile(FileSystem.translate_pattern(pattern))
    except re.error:
        with pytest.raises(re.error):
            matcher(pattern)
        return
    assert f"(?ms){matcher(pattern).pattern}" == expected.pattern


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("gs://b/*.jpg", "gs://b/a.jpg", True),
        ("gs://b/*.jpg", "gs://b/c/a.jpg", False),
        ("gs://b/**.jpg", "gs://b/c/a.jpg", True),
        ("gs://b/a?[0-9].jpg", "gs://b/a+7.jpg", True),
        ("gs://b/a.jpg", "gs://b/aXjpg", False),
    ],
)
def test_a_pattern_matches_whole_paths_and_a_star_stays_within_its_folder(
    pattern: str, path: str, matches: bool
) -> None:
    assert bool(matcher(pattern).fullmatch(path)) == matches


def test_local_files_match_as_through_beam(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nothing")
    beam = LocalFileSystem(PipelineOptions([]))
    patterns = "*.jpg ** **/a.jpg d* deep deep/ deep/* */?.jpg [ab].* [!a]* none* no/where/* a.jpg none"
    for path in (os.path.join(tmp_path, pattern) for pattern in patterns.split()):
        (expected,) = beam.match([path])
        assert sorted(match_local(path)) == sorted(found.path for found in expected.metadata_list), path
