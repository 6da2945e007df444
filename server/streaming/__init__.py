"""The log of what a run emits, and its readers."""
