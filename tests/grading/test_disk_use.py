"""What a submission's files take on the disk, also those that no listing shows."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from labkernel.grading.sandbox.warden import sizes_below, sizes_of_deleted


def test_directories_count_too(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "a" / "link").symlink_to("/nowhere")
    paths = [tmp_path, *tmp_path.rglob("*")]
    assert sum(sizes_below(str(tmp_path))) == sum(path.lstat().st_blocks * 512 for path in paths)
    assert len(list(sizes_below(str(tmp_path)))) == len(paths) == 5


def test_a_deleted_file_counts_once_while_it_is_open(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        os.posix_fallocate(file.fileno(), 0, 3_333 * 4096)
        again = os.dup(file.fileno())
        size = os.fstat(again).st_blocks * 512
        assert list(sizes_of_deleted()).count(size) == 1
        os.close(again)
    assert size not in list(sizes_of_deleted())
