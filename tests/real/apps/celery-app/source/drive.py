"""Send jobs of the example."""

from driving import drive
from myapp import add

drive(lambda number: [add.delay(one, one).id for one in range(number)])
