"""Small images in place of large ones: what checks look at is the same, and no compiler has to run."""

from __future__ import annotations

from tests.exercises.desk import Desk

SOURCES = "/go/src/example.org/learner/webapp"
GO = f"""#!/bin/sh
# "Compiles" the sources to a server with their greeting, whatever it is asked to do.
mkdir -p /www
grep greeting {SOURCES}/web-app/main.go | head -1 | cut -d '"' -f 2 > /www/index.html
echo '>>> pkg-config --cflags python2' >> /www/index.html
printf '#!/bin/sh\\nexec httpd -f -p 8080 -h /www' > /bin/web-app
chmod +x /bin/web-app
"""


def web_base(learner: Desk) -> None:
    """An image me/web-base on busybox, with a program `go` that makes a web-app."""
    learner.image("me/web-base", "FROM busybox\nCOPY go /bin/go\nEXPOSE 8080\n", {"go": GO})
