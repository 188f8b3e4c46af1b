"""How a result looks below its cell."""

from __future__ import annotations

import sys

from labkernel.commands import Finished, Listing, Result
from labkernel.notebook.views.picture import Picture


def show(result: Result) -> None:
    """Display a result as the last thing a cell says.

    What is only text is printed, as the docker client prints it. A build's report is there already, in place
    of its progress, and a foreground run has left its output.
    """
    from IPython.display import display

    if result.is_shown:
        result.is_shown = False  # a later cell that names it does show it
    elif isinstance(result, Picture) and result.show is not None:
        result.show()
    elif isinstance(result, Finished):
        if result.detached:
            print(f"left {result.container[:12]}, which runs on", file=sys.stderr)
        elif result.exit_code:
            print(result.ending, file=sys.stderr)
    elif result._repr_html_() == Result._repr_html_(result):
        if result.text:
            print(result.text)
    else:
        bundle = {"text/plain": result.text, "text/html": _left_aligned(result)}
        display(bundle, raw=True)  # type: ignore[no-untyped-call]


def _left_aligned(result: Result) -> str:
    """The HTML of a table with its columns set as docker sets them; JupyterLab sets them to the right."""
    html = result._repr_html_()
    if isinstance(result, Listing):
        for cell in ("th", "td"):
            html = html.replace(f"<{cell}>", f'<{cell} style="text-align:left;vertical-align:top">')
    return html
