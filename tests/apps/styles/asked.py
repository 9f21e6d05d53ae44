"""What the test asks of the process that is forked for it; filled before an app is made."""

OWN = {}
BROKER = ""
SAY = None
