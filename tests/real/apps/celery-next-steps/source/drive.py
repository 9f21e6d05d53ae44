"""Send jobs of the example."""

from celery import chord
from driving import drive
from proj.tasks import add, xsum

drive(lambda number: [chord(add.s(one, one) for one in range(10))(xsum.s()).id for _ in range(number)])
