"""Send jobs of the example, and look at what they return."""

from celery.result import AsyncResult
from driving import drive
from tasks import urlopen

drive(
    lambda number: [urlopen.delay("http://site:8000").id for _ in range(number)],
    lambda sent: [job for job in sent if AsyncResult(job).result == len("hello")],
)
