"""What tells people how the server does: logs, counts, traces."""
