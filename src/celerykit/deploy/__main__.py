"""``python -m celerykit.deploy COMMAND`` reads variables and facts, as JSON, from its input, and writes its answer.

The answer is JSON, too. It has ``errors``, a list of texts, of which any one forbids to change the host.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from celerykit.deploy import owner, plan, postgresql, rabbitmq, redis

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMMANDS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "owner": owner.judge,
    "plan": plan.make,
    "postgresql": postgresql.make,
    "rabbitmq": rabbitmq.make,
    "redis": redis.make,
}

if __name__ == "__main__":
    json.dump(COMMANDS[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
