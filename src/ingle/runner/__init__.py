"""The program inside the container: standard library and itself, started before any user code."""
