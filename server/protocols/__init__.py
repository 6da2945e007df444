"""Dialects beside REST, through the same services and logs."""
