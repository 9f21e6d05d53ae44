"""An app that does not import."""

import no_such_module  # noqa: F401
