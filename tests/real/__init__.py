"""Well-known apps on the kit's stack, installed as their own docs say: ``make apps``."""
