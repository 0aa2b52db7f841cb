"""The server: api → rules → loop → scheduler, and back."""
