"""The functions of running apps."""

from dataclasses import dataclass, field

from ingle.exceptions import CallCancelledError, NotFoundError
from ingle.model.app import App
from ingle.model.function import FunctionSpec

#: Functions of stopped apps that are remembered, to say why their calls fail.
GONE_MAX = 10_000


@dataclass(eq=False, slots=True)
class Function:
    spec: FunctionSpec
    app: App
    calls: set = field(default_factory=set)  #: that have inputs which have not ended


class Functions:
    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}
        self._gone: dict[str, str] = {}

    def add(self, spec: FunctionSpec, app: App) -> Function:
        function = self._functions[spec.id] = Function(spec, app)
        return function

    def remove(self, function_id: str, why: str) -> None:
        self._functions.pop(function_id, None)
        self._gone[function_id] = why
        if len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]

    def find(self, function_id: str) -> Function | None:
        return self._functions.get(function_id)

    def get(self, function_id: str) -> Function:
        """
        Raises:
            NotFoundError: there never was such a function.
            CallCancelledError: its app was stopped.
        """
        function = self._functions.get(function_id)
        if function is not None:
            return function
        why = self._gone.get(function_id)
        if why is not None:
            raise CallCancelledError(why)
        raise NotFoundError(
            f"there is no function {function_id[:40]}: its app may have been stopped; run the program again"
        )
