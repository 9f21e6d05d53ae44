"""Files that are written in one step: a reader sees the old text or the new one, and never half of it.

A state file is written so once a second, and a health check imports this: it imports next to nothing.
"""

from __future__ import annotations

import os
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike


def write(
    target: str | PathLike[str], text: str, *, rights: Callable[[int], None] | None = None, sync: bool = False
) -> None:
    """Write a text into a file, and replace an existing one.

    :param rights: sets owner and mode by the file's descriptor, before any other user may read it. Without it the umask
        sets the mode, and the file is this user's.
    :param sync: whether to write the text to the disk first, so that a power cut leaves the old text or the new one.
    :raises OSError: if the folder cannot be written.
    """
    folder, name = os.path.split(os.fspath(target))
    draft = os.path.join(folder, f".{name}.{os.getpid()}.{get_ident()}")  # threads write, too
    if os.path.lexists(draft):  # of a process that was killed, and had this number
        os.unlink(draft)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600 if rights else 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if sync:
                os.fsync(descriptor)
            if rights:
                rights(descriptor)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
