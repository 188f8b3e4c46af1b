"""A teaching lab for containers that lives in Jupyter, on a container engine of its own."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not loaded: the launcher imports this package too
if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext labkernel`."""
    from labkernel.notebook.extension import load

    load(shell)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """What `jupyter server` loads where its configuration names labkernel."""
    return [{"module": "labkernel.jupyter"}]


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext labkernel`."""
    from labkernel.notebook.extension import unload

    unload(shell)
