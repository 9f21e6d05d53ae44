"""Jobs whose task this worker does not know: what waits for their outcome learns that they have failed.

Celery stores a failure for such a job and tells nobody else. The body of its chord would wait for ever.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.app.task import Context
from celery.exceptions import NotRegistered
from kombu.exceptions import KombuError

from celerykit.messages import dead_letters
from celerykit.worker import consequences

logger = logging.getLogger(__name__)

LED_TO = ("errbacks", "chain", "chord")


def tell(app: Any, timer: Any, message: Any, attempt: int = 1) -> None:
    """Fail the chord and the rest of the chain of a job, and send its errbacks; later, if that is refused.

    :param timer: the worker's.
    :param message: of a job that nobody here can run, in the second version of Celery's protocol.
    """
    context = _context_of(message)
    if context is None or not any(getattr(context, name) for name in LED_TO):
        return
    try:
        with consequences.of_outcome(app):
            # The worker has stored the job's own result.
            app.backend.mark_as_failure(context.id, NotRegistered(context.task), request=context, store_result=False)
    except (Exception, consequences.Refused) as exc:
        if not consequences.is_refusal(exc, app):
            logger.exception("job %s[%s]: nobody was told that it has failed", context.task, context.id)
            return
        delay = dead_letters.redelivery_delay(attempt)
        logger.warning("job %s[%s]: its failure is told in %d s: %r", context.task, context.id, delay, exc)
        timer.call_after(delay, tell, (app, timer, message, attempt + 1))


def _context_of(message: Any) -> Any:
    """Return what Celery's backends ask of a request, None if the message does not say it."""
    try:
        _, _, led_to = message.payload
        embedded = {name: led_to.get(name) for name in LED_TO}
    except (KombuError, AttributeError, TypeError, ValueError):
        return None
    return Context(message.headers, **embedded, delivery_info=dict(message.delivery_info or {}))
