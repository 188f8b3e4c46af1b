"""The checks of the small exercise that grading is tested with."""

from __future__ import annotations

from labkernel.course import Lab, check, fail


@check
def image(lab: Lab) -> None:
    """There is an image me/site with the page in it."""
    if "Hello" not in lab.run(lab.image("me/site"), ["cat", "/www/index.html"]).output:
        fail("/www/index.html in me/site should say Hello, and does not")


@check(after=image)
def container(lab: Lab) -> None:
    """A container named site runs me/site."""
    if lab.running("site").image != lab.image("me/site").id:
        fail("the container site runs another image than me/site")


@check(after=container)
def page(lab: Lab) -> None:
    """The page is at port 8080."""
    if "Hello from the site" not in lab.get(8080, patience=0.5):
        fail("the page at port 8080 is another one")


@check(after=container)
def visited(lab: Lab) -> None:
    """The container's log knows of a visit to base.html."""
    if "/base.html" not in lab.running("site").log:
        fail("the log of site should name /base.html, and does not")
