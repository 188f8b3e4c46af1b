"""What one daemon writes the other reads: images and file systems, in both directions, through docker-py."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from tests.differential.scenarios.files import archive
from tests.support.daemons import Daemon


@pytest.fixture(params=["to ours", "to Docker"])
def writer_and_reader(
    request: pytest.FixtureRequest, dockerd: Daemon, engine: Daemon
) -> Iterator[tuple[Daemon, Daemon]]:
    yield (dockerd, engine) if request.param == "to ours" else (engine, dockerd)
    dockerd.clear()
    engine.clear()


def test_a_saved_image_loads_with_the_same_id_and_runs(writer_and_reader: tuple[Daemon, Daemon]) -> None:
    writer, reader = (daemon.client() for daemon in writer_and_reader)
    steps = "RUN mkdir /d && echo one > /d/one && ln /d/one /d/hard\nRUN rm /etc/group\nCMD cat /d/hard\n"
    dockerfile = f"FROM busybox\n{steps}"
    context = archive({"Dockerfile": dockerfile})
    image, _ = writer.images.build(fileobj=io.BytesIO(context), custom_context=True, tag="me/it:v1")
    (loaded,) = reader.images.load(b"".join(image.save(named=True)))
    assert (loaded.id, loaded.tags) == (image.id, ["me/it:v1"])
    assert loaded.attrs["RootFS"] == image.attrs["RootFS"]
    assert reader.containers.run("me/it:v1", remove=True) == b"one\n"
    assert (
        reader.containers.run("me/it:v1", "ls /etc", remove=True)
        == b"hostname\nhosts\nmtab\npasswd\nresolv.conf\n"
    )


def test_an_exported_container_imports(writer_and_reader: tuple[Daemon, Daemon]) -> None:
    writer, reader = (daemon.client() for daemon in writer_and_reader)
    container = writer.containers.run("busybox", "sh -c 'echo new > /new; chown 1:1 /new'", detach=True)
    container.wait()
    tar = b"".join(container.export())
    reader.api.import_image_from_data(tar, repository="me/flat")
    output = reader.containers.run("me/flat", ["/bin/stat", "-c", "%u %g %s", "/new"], remove=True)
    assert output == b"1 1 4\n"


def test_files_copied_out_of_one_go_into_the_other(writer_and_reader: tuple[Daemon, Daemon]) -> None:
    writer, reader = (daemon.client() for daemon in writer_and_reader)
    source = writer.containers.run(
        "busybox", "sh -c 'mkdir -p /a/b; echo x > /a/b/c; ln -s b/c /a/l'", detach=True
    )
    source.wait()
    chunks, stat = source.get_archive("/a")
    assert stat["name"] == "a"
    target = reader.containers.create("busybox", "cat /srv/a/l /srv/a/b/c")
    assert target.put_archive("/", archive({"srv": None}))
    assert target.put_archive("/srv", b"".join(chunks))
    target.start()
    target.wait()
    assert target.logs() == b"x\nx\n"
