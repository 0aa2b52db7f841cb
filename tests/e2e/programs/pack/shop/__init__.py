"""A package whose modules need each other."""
