"""Where this code runs: in a container or not, and for which input."""

from ingle.runner import context


def is_local() -> bool:
    """Whether this code runs on the user's own machine, not in a container of Ingle."""
    return not context.in_container


def current_input_id() -> str | None:
    """The id of the input that this code works for, such as `fc-…:0`; None outside of containers."""
    return context.current_input_id() if context.in_container else None


def current_function_call_id() -> str | None:
    """The id of the call that this code works for, such as `fc-…`; None outside of containers."""
    return context.current_function_call_id() if context.in_container else None
