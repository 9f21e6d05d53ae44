"""Work out on the controller what PostgreSQL is told of its user: reads the password, as JSON, from the input.

The answer is SQL, in which the password is a verifier.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from celerykit.credentials import passwords

if __name__ == "__main__":
    print(passwords.postgresql_users(json.load(sys.stdin)), end="")
