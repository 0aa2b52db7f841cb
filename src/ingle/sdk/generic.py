"""Stand-ins for `typing` at run time: that module costs a cold container 6 ms, and only type checkers need it.

A module writes `if TYPE_CHECKING: from typing import Generic, ParamSpec, TypeVar` and, in the other branch, imports the
names from here, so that one class statement serves both.
"""


class Generic:
    """A class that may be subscripted, to no effect."""

    __slots__ = ()

    def __class_getitem__(cls, parameters: object) -> type:
        return cls


def overload(function: object) -> object:
    return function


#: Names for type variables; nothing reads them.
P = R = L = None
