"""Colours and type of the pictures: inline, so that a saved notebook keeps them, and see-through, so that
they sit well on a light page and on a dark one. Text has the page's own colour.
"""

from __future__ import annotations

import html

OWN = "rgba(33,150,243,.38)"
SHARED = "rgba(76,175,80,.38)"
WRITABLE = "rgba(255,152,0,.38)"
FAILED = "rgba(229,57,53,.38)"
FAINT = "rgba(128,128,128,.14)"
LINE = "1px solid rgba(128,128,128,.45)"
MUTED = "opacity:.65"
MONOSPACE = "font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px"
BOX = "max-width:860px;line-height:1.45;font-size:13px"


def escape(text: object) -> str:
    return html.escape(str(text))


def div(style: str, *content: str) -> str:
    """A division; `content` is HTML."""
    return f'<div style="{style}">{"".join(content)}</div>'


def span(style: str, *content: str) -> str:
    """A span; `content` is HTML."""
    return f'<span style="{style}">{"".join(content)}</span>'


def frame(*rows: str) -> str:
    """Rows with a line around them all."""
    return div(f"border:{LINE};border-radius:5px;overflow:hidden", *rows)


def key(colour: str, text: str) -> str:
    """One entry of a legend."""
    square = (
        f"display:inline-block;width:10px;height:10px;border-radius:2px;background:{colour};{LINE_AROUND}"
    )
    return span("margin-right:14px;white-space:nowrap", span(square), " ", escape(text))


LINE_AROUND = f"border:{LINE};margin-right:3px"


def scrolling(text: str, *, at_end: bool = False) -> str:
    """Text as a program wrote it, in a box no higher than a dozen lines; `at_end` shows the last of them."""
    if at_end:  # a box that is filled from below stands at its end, without a script
        look = "display:flex;flex-direction:column-reverse;max-height:220px;overflow:auto"
        return div(look, scrolling(text).replace("max-height:220px;overflow:auto;", "flex:none;"))
    return (
        f'<pre style="margin:2px 0 4px 0;padding:4px 8px;max-height:220px;overflow:auto;background:{FAINT};'
        f'{MONOSPACE};line-height:1.35;white-space:pre-wrap">{escape(text)}</pre>'
    )
