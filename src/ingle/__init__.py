"""Ingle: serverless Python on your own machines. The public names, each loaded when first used."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ingle import exceptions as exceptions
    from ingle.exceptions import Error as Error
    from ingle.sdk.app import App as App
    from ingle.sdk.context import (
        current_function_call_id as current_function_call_id,
    )
    from ingle.sdk.context import (
        current_input_id as current_input_id,
    )
    from ingle.sdk.context import (
        is_local as is_local,
    )
    from ingle.sdk.function import Function as Function
    from ingle.sdk.function_call import FunctionCall as FunctionCall
    from ingle.sdk.image import Image as Image
    from ingle.sdk.output import enable_output as enable_output
    from ingle.sdk.retries import Retries as Retries

__version__ = "0.1.0"

_MODULES = {
    "App": "ingle.sdk.app",
    "Error": "ingle.exceptions",
    "Function": "ingle.sdk.function",
    "FunctionCall": "ingle.sdk.function_call",
    "Image": "ingle.sdk.image",
    "Retries": "ingle.sdk.retries",
    "current_function_call_id": "ingle.sdk.context",
    "current_input_id": "ingle.sdk.context",
    "enable_output": "ingle.sdk.output",
    "exceptions": "ingle",
    "is_local": "ingle.sdk.context",
}

__all__ = [
    "App",
    "Error",
    "Function",
    "FunctionCall",
    "Image",
    "Retries",
    "__version__",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "exceptions",
    "is_local",
]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'ingle' has no attribute {name!r}")
    if name == "exceptions":
        return __import__("ingle.exceptions", fromlist=["exceptions"])
    value = getattr(__import__(module, fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
