"""Names of things: a two-letter prefix that says what, then 16 random base-32 characters."""

import os

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u

APP = "ap"
FUNCTION = "fu"
CALL = "fc"
CONTAINER = "co"
IMAGE = "im"
NODE = "no"
SOURCE = "so"
BLOB = "bl"
SESSION = "se"
EXEC = "ex"


def new_id(prefix: str) -> str:
    """A fresh id such as `fc-3v1k9m…`: 80 random bits."""
    number = int.from_bytes(os.urandom(10), "big")
    digits = []
    for _ in range(16):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return f"{prefix}-{''.join(digits)}"


def input_id(call_id: str, index: int) -> str:
    """The id of one input of a call: `fc-…:7`."""
    return f"{call_id}:{index}"


def split_input_id(value: str) -> tuple[str, int]:
    """The call and the index of an input id.

    Raises:
        ValueError: it is not an input id.
    """
    call_id, _, index = value.rpartition(":")
    return call_id, int(index)
