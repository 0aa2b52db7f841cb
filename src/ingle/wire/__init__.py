"""What programs say to each other: messages as frozen values, their bytes, their errors."""
