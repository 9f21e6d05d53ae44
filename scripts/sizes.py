"""The table of image sizes in docs/images.md, measured and written between two markers."""

from __future__ import annotations

from pathlib import Path

import debian
from console import SetupError, output_of

DOCUMENT = Path("docs/images.md")
BEGIN, END = "<!-- sizes: begin -->", "<!-- sizes: end -->"
IMAGES = {
    debian.IMAGE: "Debian 13, the base of all",
    "celerykit/celery": "worker, beat and Flower, with the client of Redis and gevent",
    "celerykit/installer": "the same and uv; runs for seconds, to install an app",
    "celerykit/redis": "broker and result backend",
    "celerykit/rabbitmq": "broker, beside Redis for results",
    "celerykit/postgresql": "result backend, and broker where asked for",
    "celerykit/celery:postgresql": "as `celerykit/celery`, with the client of PostgreSQL",
}


def write() -> None:
    """Measure the images and write the table.

    :raises SetupError: if an image is missing.
    """
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{_table()}{END}{after}", encoding="utf-8")


def _table() -> str:
    base = _size(debian.IMAGE)
    rows = [f"| `{name}` | {_size(name):.0f} | {_size(name) - base:.0f} | {text} |\n" for name, text in IMAGES.items()]
    return "| image | MB | above the base | what it is |\n| --- | ---: | ---: | --- |\n" + "".join(rows)


def _size(image: str) -> float:
    size = output_of("docker", "image", "inspect", "--format", "{{.Size}}", image)
    if size is None:
        raise SetupError(f"there is no image {image}", "Build it: make up")
    return int(size) / 1e6
