"""Send a value by each serializer and kind of compression, and print what came back: ``python -m exchange KINDS``."""

import json
import sys

from content import app, echo

# Long enough to be worth compressing, with what a serializer may take for something else.
VALUE = {"text": "häufig " * 200, "none": None, "number": 2.5, "list": [1, "1", True], "date": "2026-01-31"}


def main(kinds):
    """Send all, then wait for each."""
    sent = [(kind, echo.apply_async([VALUE], serializer=kind[0], compression=kind[1])) for kind in kinds]
    print(json.dumps([kind for kind, result in sent if result.get(timeout=60) == VALUE]))


if __name__ == "__main__":
    app.set_current()
    main(json.loads(sys.argv[1]))
