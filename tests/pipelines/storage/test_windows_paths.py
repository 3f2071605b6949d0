"""Lists of paths that were written on Windows name the files beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.argument_parser import without_file_scheme
from pipelines.common.cli import UsageError
from pipelines.storage.path_lists import list_paths, require_path_list


def listed(folder: Path, *entries: str) -> list[str]:
    (folder / "set" / "train").mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        (folder / "set" / "train" / name).write_bytes(b"x")
    path = folder / "set" / "list.txt"
    path.write_text("\n".join(entries))
    require_path_list("--input", str(path))
    return [Path(entry).relative_to(folder / "set").as_posix() for entry in list_paths(str(path))]


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        ".\\",
        "C:\\data\\",
        "d:/my data/",
        "\\\\server\\share\\data\\",
        "C:\\set\\..\\set\\",
        "file:///C:/my%20data/",
    ],
)
def test_backslashes_and_drives_name_the_files_beside_the_list(tmp_path: Path, prefix: str) -> None:
    entries = [f"{prefix}train\\a.jpg", f"{prefix}train\\b.jpg", f"{prefix}train\\missing.jpg"]
    assert listed(tmp_path, *entries) == ["train/a.jpg", "train/b.jpg", "train/missing.jpg"]


def test_a_file_whose_name_has_a_backslash_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train\\a.jpg").write_bytes(b"x")
    assert listed(tmp_path, "train\\a.jpg", "train/b.jpg") == ["train\\a.jpg", "train/b.jpg"]


def test_a_drive_that_nothing_beside_the_list_stands_for_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lists C:\\other\\x.jpg, a path on a Windows drive .*relative to the list$"):
        listed(tmp_path, "C:\\other\\x.jpg")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///a%20b/c", "/a b/c"),
        ("--input=file://localhost/a", "--input=/a"),
        ("ham10000=file:///a", "ham10000=/a"),
        ("file://host/a", "file://host/a"),
        ("gs://b/file:///a", "gs://b/file:///a"),
    ],
)
def test_a_file_address_is_a_local_path(text: str, path: str) -> None:
    assert without_file_scheme(text) == path
