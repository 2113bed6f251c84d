"""Files that are written whole or not at all."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from tandem_platform.files import write_whole


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("wanted", [0o600, 0o644, 0o444])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path, wanted):
    former = os.umask(0o077 if wanted != 0o600 else 0)
    try:
        write_whole(tmp_path / "file", b"x", wanted)
    finally:
        os.umask(former)
    assert mode(tmp_path / "file") == wanted


def test_a_directory_that_was_missing_is_its_owners_alone(tmp_path):
    write_whole(tmp_path / "new" / "file", b"x")
    assert mode(tmp_path / "new") == 0o700


def test_what_is_replaced_is_never_seen_in_part(tmp_path):
    file = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    write_whole(file, contents[0])
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(write_whole, file, content) for content in contents * 4]
        while not all(each.done() for each in done):
            assert file.read_bytes() in contents
        for each in done:
            each.result()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "file"
    write_whole(file, b"old")
    with pytest.raises(TypeError):
        write_whole(file, "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
