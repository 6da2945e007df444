"""What a project and its environment say: read, checked, turned into rules."""
