"""The command `ingle`: a file per verb or noun; output.py is everything the terminal shows."""
