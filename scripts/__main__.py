"""Set up, start, test and remove the kit on this machine: the program behind the Makefile.

Run as ``python3 scripts COMMAND`` from the root of the repository. Old versions of Python must be able to parse this
file, because it refuses them.
"""

import os
import sys

OLDEST = (3, 10)

if sys.version_info < OLDEST:
    sys.exit(
        "error: this is Python %d.%d, and the set-up needs %d.%d or newer.\n"  # noqa: UP031
        "remedy: name a newer one, for example: make up PYTHON=python3.13" % (sys.version_info[:2] + OLDEST)
    )

import commands  # noqa: E402  # only after the version is known to do

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
sys.exit(commands.main(sys.argv[1:]))
