"""The commands beside those that serve."""
