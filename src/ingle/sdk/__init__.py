"""What users import: a file per noun. Standard library only, and as little of it as the moment needs."""
