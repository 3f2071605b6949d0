"""Many byte strings in a few files: each comes back as it was, and what is lost or damaged does not."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path

import pytest

from pipelines.storage import filesystem, packs
from pipelines.storage.errors import StorageError
from pipelines.storage.packs import Packed, PackWriter, Piece, piece_of, read_pieces


def contents(count: int, size: int = 50) -> list[bytes]:
    return [random.Random(number).randbytes(size + number) for number in range(count)]


def write(folder: Path, items: list[tuple[int, int, list[bytes]]]) -> list[Packed[int]]:
    """Pack (item, order, contents) and return all that was packed."""
    writer: PackWriter[int] = PackWriter(str(folder))
    packed = [done for item in items for done in writer.add(*item)]
    return [*packed, *writer.flush()]


def test_pieces_come_back_in_any_order(tmp_path: Path) -> None:
    given = {number: [data, data[::-1]] for number, data in enumerate(contents(40))}
    packed = write(tmp_path, [(number, -number, pair) for number, pair in given.items()])
    assert sorted(one.item for one in packed) == sorted(given)
    for one in random.Random(1).sample(packed, len(packed)):
        found = read_pieces(str(tmp_path / one.pack), one.pieces[::-1])
        assert [found[piece] for piece in one.pieces] == given[one.item]
    every = [piece for one in packed for piece in one.pieces]
    found = read_pieces(str(tmp_path / packed[0].pack), random.Random(2).sample(every, len(every)))
    assert [found[piece] for piece in every] == [data for one in packed for data in given[one.item]]


def test_the_first_contents_of_all_items_lie_together_in_the_given_order(tmp_path: Path) -> None:
    packed = write(tmp_path, [(1, 20, [b"B", b"bb"]), (2, 30, [b"C"]), (3, 10, [b"A", b"aa"])])
    assert [one.item for one in packed] == [3, 1, 2]
    assert (tmp_path / packed[0].pack).read_bytes() == b"ABCaabb"


def test_packs_are_bounded_and_no_two_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 1000)
    items = [(number, number, [data]) for number, data in enumerate(contents(100))]
    # The same again, as if the bundle was repeated.
    packed = [write(tmp_path, items), write(tmp_path, items)]
    names = [{one.pack for one in some} for some in packed]
    assert not names[0] & names[1]
    assert {path.name for path in tmp_path.iterdir()} == names[0] | names[1]
    assert len(names[0]) > 5
    for path in tmp_path.iterdir():
        assert path.suffix == packs.SUFFIX
        assert path.stat().st_size < 1000 + 150


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="nothing else counts a process's reads")
def test_a_compressed_file_is_read_in_large_parts(tmp_path: Path) -> None:
    def reads() -> int:
        return int(Path("/proc/self/io").read_text().split()[5])

    content = random.Random(0).randbytes(4 << 20)
    path = tmp_path / "shard.gz"
    path.write_bytes(gzip.compress(content, 1))
    piece = piece_of(content[-100:], len(content) - 100)
    before = reads()
    assert read_pieces(str(path), [piece], "gzip") == {piece: content[-100:]}
    assert reads() - before < 50


def test_nothing_is_written_for_no_items(tmp_path: Path) -> None:
    assert write(tmp_path / "packs", []) == []
    assert not (tmp_path / "packs").exists()


class _Counted:
    """A file that counts how often it is read."""

    def __init__(self, path: str):
        self._file = io.BytesIO(Path(path).read_bytes())
        self.seeks: list[int] = []

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def seek(self, offset: int) -> int:
        self.seeks.append(offset)
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        return self._file.read(size)


def test_neighbours_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    data = random.Random(3).randbytes(1 << 20)
    path.write_bytes(data)
    opened: list[_Counted] = []

    def open_counted(path: str) -> _Counted:
        opened.append(_Counted(path))
        return opened[-1]

    monkeypatch.setattr(filesystem, "open_exact", open_counted)
    far = 500_000
    pieces = [piece_of(data[start : start + 100], start) for start in (0, 100, 5000, far, far + 1000)]
    assert read_pieces(str(path), [*pieces[::-1], pieces[0]]) == {piece: data[piece.offset :][:100] for piece in pieces}
    assert [file.seeks for file in opened] == [[0, far]]
    # However many there are, no read is too large for memory.
    monkeypatch.setattr(packs, "_SPAN_BYTES", 1000)
    assert len(read_pieces(str(path), pieces)) == 5
    assert opened[1].seeks == [0, 5000, far, far + 1000]


def test_a_piece_that_is_damaged_or_beyond_the_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = b"".join(contents(1, 1000))
    first, second, last = (piece_of(data[start : start + 100], start) for start in (0, 100, 900))
    beyond, across = Piece(5000, 10, 0), piece_of(data[950:], 950)._replace(length=60)
    path.write_bytes(data[:150] + b"?" + data[151:])
    assert read_pieces(str(path), [last, beyond, across, second, first]) == {first: data[:100], last: data[900:]}
    path.write_bytes(data[:120])
    assert read_pieces(str(path), [last, second, first]) == {first: data[:100]}
    path.write_bytes(b"")
    assert read_pieces(str(path), [first]) == {}
    path.unlink()
    with pytest.raises(StorageError, match="No such file"):
        read_pieces(str(path), [first])


def test_a_piece_of_no_bytes_is_there(tmp_path: Path) -> None:
    (packed,) = write(tmp_path, [(1, 1, [b"", b"x", b""])])
    found = read_pieces(str(tmp_path / packed.pack), packed.pieces)
    assert [found[piece] for piece in packed.pieces] == [b"", b"x", b""]


def test_pieces_of_a_gzipped_file_are_those_of_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    data = b"".join(contents(200, 1000))
    path.write_bytes(gzip.compress(data))
    pieces = [piece_of(data[start : start + 500], start) for start in (0, 90_000, 500, 200_000)]
    assert read_pieces(str(path), pieces, "gzip") == {piece: data[piece.offset :][:500] for piece in pieces}
