from __future__ import annotations

import pytest

from labkernel.commands import CommandError, Recorder
from labkernel.commands.progress import show_progress, status_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"status": "Pulling fs layer"}, "Pulling fs layer"),
        ({"status": "Pull complete", "progressDetail": {}}, "Pull complete"),
        (
            {"status": "Downloading", "progressDetail": {"current": 5_000_000, "total": 10_000_000}},
            "Downloading [=========================>                        ]      5MB/10MB",
        ),
        (
            {"status": "Downloading", "progressDetail": {"current": 10, "total": 10}},
            "Downloading [==================================================]      10B/10B",
        ),
        (
            {"status": "Unpacking", "progressDetail": {"current": 23, "total": 46, "units": "packages"}},
            "Unpacking [=========================>                        ]       23/46 packages",
        ),
        ({"status": "Pushing", "progressDetail": {"current": 2048}}, "Pushing  2.048kB"),
    ],
)
def test_one_line_of_progress(message: dict[str, object], line: str) -> None:
    assert status_line(message) == line


def test_layers_have_lines_of_their_own_and_results_are_returned() -> None:
    console = Recorder()
    aux = show_progress(
        [
            {"status": "Pulling from library/x", "id": "latest"},
            {"status": "Waiting", "id": "abc"},
            {"status": "Pull complete", "id": "abc"},
            {"status": "Status: Downloaded newer image for x:latest"},
            {"aux": {"Tag": "latest"}},
        ],
        console,
    )
    assert console.progress_lines == {"latest": "latest: Pulling from library/x", "abc": "abc: Pull complete"}
    assert console.stdout == b"Status: Downloaded newer image for x:latest\n"
    assert aux == [{"Tag": "latest"}]


def test_an_error_in_the_stream_is_raised_in_the_engines_words() -> None:
    with pytest.raises(CommandError) as raised:
        show_progress([{"errorDetail": {"code": 7, "message": "no"}, "error": "no"}], Recorder())
    assert (raised.value.what, raised.value.exit_code) == ("no", 7)
