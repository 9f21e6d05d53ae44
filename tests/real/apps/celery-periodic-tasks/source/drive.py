"""Send jobs of the example."""

from driving import drive
from myapp import say

drive(lambda number: [say.delay("hello").id for _ in range(number)])
