"""Files in pieces: the limit, a newer upload, pieces that are late or lost."""

from __future__ import annotations

import pytest

import nn_lens as nl
from nn_lens.widgets.uploads import LARGEST, Uploads


def piece(index, count, upload=1):
    return {"upload": upload, "index": index, "count": count}


def test_a_file_is_its_pieces_in_order():
    uploads = Uploads()
    assert uploads.add(piece(0, 3), [b"ab"]) is None
    assert uploads.add(piece(1, 3), [memoryview(b"cd")]) is None
    assert uploads.add(piece(2, 3), [b"e"]) == b"abcde"
    assert uploads.add(piece(0, 1), [b"x"]) == b"x", "and the next begins anew"


def test_a_file_of_more_than_64_megabytes_is_refused_and_forgotten():
    assert LARGEST == 64 * 1024 * 1024
    uploads = Uploads()
    half = bytes(32 << 20)
    assert uploads.add(piece(0, 3), [half]) is None
    assert uploads.add(piece(1, 3), [half]) is None, "64 MB are not too many"
    with pytest.raises(nl.LensError, match="larger than 64 MB; make it smaller"):
        uploads.add(piece(2, 3), [b"1"])
    assert not uploads._pieces
    assert uploads.add(piece(3, 4), [b"late"]) is None
    assert uploads.add(piece(0, 1, upload=2), [b"small"]) == b"small"


def test_a_newer_upload_takes_the_place_of_an_unfinished_one():
    uploads = Uploads()
    uploads.add(piece(0, 2, upload=1), [b"old"])
    uploads.add(piece(0, 2, upload=2), [b"new"])
    assert uploads.add(piece(1, 2, upload=1), [b"er"]) is None, "a late piece of the old one is no error"
    assert uploads.add(piece(1, 2, upload=2), [b"er"]) == b"newer"


@pytest.mark.parametrize(("index", "buffers"), [(2, [b"x"]), (1, [])])
def test_a_lost_piece_ends_an_upload(index, buffers):
    uploads = Uploads()
    uploads.add(piece(0, 3), [b"ab"])
    with pytest.raises(nl.LensError, match="a piece is missing"):
        uploads.add(piece(index, 3), buffers)
    assert not uploads._pieces
