"""Send jobs of the example."""

from driving import drive
from mysecureapp import boom

drive(lambda number: [boom.delay().id for _ in range(number)])
