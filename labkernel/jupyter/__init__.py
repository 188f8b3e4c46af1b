"""What labkernel adds to a Jupyter server: streams that need Jupyter's login and outlive a busy kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _load_jupyter_server_extension(server: ServerApp) -> None:
    from jupyter_server.utils import url_path_join

    from labkernel.jupyter.display_socket import DisplaySocket

    address = url_path_join(server.base_url, r"/labkernel/display/(\d{1,5})")
    server.web_app.add_handlers(".*$", [(address, DisplaySocket)])  # type: ignore[no-untyped-call]
    server.log.info("labkernel: virtual screens are shown at %slabkernel/display/", server.base_url)
