"""The kit's tests; see CONTRIBUTING.md for which of them needs what."""
