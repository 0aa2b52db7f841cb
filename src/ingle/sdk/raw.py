"""What the code of a user's plain Python function says of it: whether it yields, whether it is async."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def yields(raw: Any, said: bool | None) -> bool:
    """Whether a function is a generator function (`said` overrides what its code says)."""
    if said is not None:
        return said
    return bool(_flags(raw) & (0x20 | 0x200))  # CO_GENERATOR, CO_ASYNC_GENERATOR


def is_async(raw: Any) -> bool:
    """Whether a function is an async function or an async generator function."""
    return bool(_flags(raw) & (0x80 | 0x200))  # CO_COROUTINE, CO_ASYNC_GENERATOR


def _flags(raw: Any) -> int:
    while True:  # as `inspect` does, whose import is too slow: look through partial(), not through decorators
        inner = getattr(raw, "func", None)
        if inner is None:
            break
        raw = inner
    raw = getattr(raw, "__func__", raw)
    code = getattr(raw, "__code__", None)
    return code.co_flags if code is not None else 0
