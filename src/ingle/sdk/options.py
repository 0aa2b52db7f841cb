"""What `App(...)`, `@app.function(...)` and `@app.local_entrypoint(...)` accept; each error shows the fix."""

from __future__ import annotations

from ingle.exceptions import InvalidError
from ingle.model.resources import CPU_MILLI_DEFAULT, MEMORY_MIB_DEFAULT
from ingle.sdk.function import Function
from ingle.sdk.image import Image
from ingle.sdk.retries import MAX_RETRIES, Retries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME_CHARACTERS_MAX = 64
TIMEOUT_S_MAX = 24 * 3600
SCALEDOWN_WINDOW_S_MAX = 24 * 3600
CPU_CORES_MAX = 1024
MEMORY_MIB_MAX = 16 << 20
CONTAINERS_MAX = 10_000
ENV_BYTES_MAX = 64 << 10

#: Options of a later version; None or empty: not used.
LATER = ("gpu", "cloud", "region", "schedule", "secrets", "volumes")


def check_app(name: object, image: object) -> None:
    """
    Raises:
        InvalidError: no App can be made of these.
    """
    if name is not None:
        check_name("app", name)
    _check_image(image)


def check_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise InvalidError(f"the name of {_a(what)} is a string, not {name!r}")
    if not name or len(name) > NAME_CHARACTERS_MAX or not all(c.isalnum() or c in "-_." for c in name):
        raise InvalidError(
            f"{name!r} cannot be the name of {_a(what)}: use letters, digits, `-`, `_` and `.`, "
            f"at most {NAME_CHARACTERS_MAX} of them"
        )


def refuse_misuse(decorator: str, misused: object, unknown: dict[str, object], known: tuple[str, ...]) -> None:
    """
    Raises:
        InvalidError: the decorator was used without parentheses, with a positional argument or an unknown option.
    """
    if callable(misused):
        raise InvalidError(f"write `@{decorator}()`, with the parentheses")
    if misused is not None:
        raise InvalidError(f"`@{decorator}(...)` takes options by name only, such as `@{decorator}(name={misused!r})`")
    for name in unknown:
        from difflib import get_close_matches

        close = get_close_matches(name, known, 1, 0.6)
        hint = f"did you mean `{close[0]}`?" if close else "it takes " + ", ".join(known)
        raise InvalidError(f"`@{decorator}(...)` has no option `{name}`: {hint}")


def check_function(given: dict[str, Any]) -> dict[str, Any]:
    """The options of `@app.function(...)`, checked; `cpu`, `memory` as (request, limit or None), `retries` as Retries.

    Raises:
        InvalidError: an option is of the wrong type or out of its range.
    """
    options = dict(given)
    _check_image(given["image"])
    if given["name"] is not None:
        check_name("function", given["name"])
    options["cpu"] = _amount("cpu", given["cpu"], CPU_MILLI_DEFAULT / 1000, 0.001, CPU_CORES_MAX, (int, float), "cores")
    options["memory"] = _amount("memory", given["memory"], MEMORY_MIB_DEFAULT, 16, MEMORY_MIB_MAX, (int,), "MiB")
    options["env"] = _check_env(given["env"])
    _check_number("timeout", given["timeout"], 0.001, TIMEOUT_S_MAX, "seconds")
    if given["startup_timeout"] is None:
        options["startup_timeout"] = given["timeout"]
    else:
        _check_number("startup_timeout", given["startup_timeout"], 0.001, TIMEOUT_S_MAX, "seconds")
    options["retries"] = _check_retries(given["retries"])
    _check_number("min_containers", given["min_containers"], 0, CONTAINERS_MAX, "containers", (int,))
    _check_number("buffer_containers", given["buffer_containers"], 0, CONTAINERS_MAX, "containers", (int,))
    _check_number("scaledown_window", given["scaledown_window"], 0, SCALEDOWN_WINDOW_S_MAX, "seconds")
    if given["max_containers"] is not None:
        _check_number("max_containers", given["max_containers"], 1, CONTAINERS_MAX, "containers", (int,))
        if given["max_containers"] < given["min_containers"]:
            raise InvalidError(
                f"max_containers={given['max_containers']} is less than min_containers={given['min_containers']}"
            )
    for flag in ("serialized", "include_source", "block_network", "single_use_containers"):
        if not isinstance(given[flag], bool):
            raise InvalidError(f"{flag} is True or False, not {given[flag]!r}")
    if given["is_generator"] not in (None, True, False):
        raise InvalidError(f"is_generator is True, False or None, not {given['is_generator']!r}")
    _check_later(given)
    return options


def check_raw(raw: Any, options: dict[str, Any]) -> str:
    """The name of a function that is being decorated.

    Raises:
        InvalidError: a container could not import or run it.
    """
    if isinstance(raw, Function):
        raise InvalidError(f"{raw.name!r} is decorated with `@app.function()` twice: leave one out")
    if isinstance(raw, type):
        raise InvalidError(f"`@app.function()` wants a function, and {raw.__name__} is a class: decorate a function")
    if isinstance(raw, (staticmethod, classmethod, property)) or not callable(raw):
        raise InvalidError(f"`@app.function()` wants a plain function, not {raw!r}")
    qualname = getattr(raw, "__qualname__", None)
    if qualname is None or not hasattr(raw, "__module__"):
        raise InvalidError(f"`@app.function()` wants a function written with `def`, not {raw!r}")
    name = options["name"] or raw.__name__
    if "<lambda>" in qualname and not (options["serialized"] and options["name"]):
        raise InvalidError('a lambda needs a name and its code shipped: @app.function(name="…", serialized=True)')
    if not options["serialized"]:
        if "<locals>" in qualname:
            outer = qualname.partition(".<locals>")[0]
            raise InvalidError(
                f"{raw.__name__!r} is defined inside {outer!r}, where a container cannot import it: move it to the top "
                f"of its file, or ship the function itself with @app.function(serialized=True)"
            )
        if "." in qualname:
            raise InvalidError(
                f"{qualname!r} is defined in a class: move it to the top of its file, "
                f"or ship the function itself with @app.function(serialized=True)"
            )
    check_name("function", name)
    return name


def check_entrypoint(raw: Any, name: str | None) -> str:
    """The name of a local entrypoint.

    Raises:
        InvalidError: it is no plain function.
    """
    if isinstance(raw, Function):
        raise InvalidError(
            f"{raw.name!r} is a function of the app already: a local entrypoint is a function of its own"
        )
    if not callable(raw) or isinstance(raw, type):
        raise InvalidError(f"`@app.local_entrypoint()` wants a function, not {raw!r}")
    name = name or raw.__name__
    check_name("local entrypoint", name)
    return name


def check_available(function: Function[..., Any, Any]) -> None:
    """
    Raises:
        NotAvailableError: it uses an option of a later version.
    """
    options = function._options or {}
    for name in LATER:
        value = options.get(name)
        if value is not None and not (isinstance(value, (list, tuple, dict)) and not value):
            from ingle.exceptions import NotAvailableError

            raise NotAvailableError(
                f"function {function.name!r} uses `{name}`, which is not available yet: "
                f"leave it out with this version of Ingle"
            )


def _check_image(image: object) -> None:
    if image is not None and not isinstance(image, Image):
        raise InvalidError(f"image is an ingle.Image, such as ingle.Image.debian_slim(), not {image!r}")


def _check_number(
    name: str, value: object, least: float, most: float, unit: str, types: tuple[type, ...] = (int, float)
) -> None:
    if isinstance(value, bool) or not isinstance(value, types) or value != value:
        kind = "a number" if float in types else "a whole number"
        raise InvalidError(f"{name} is {kind} of {unit}, not {value!r}")
    if not least <= value <= most:  # type: ignore[operator]
        raise InvalidError(f"{name}={value!r} is out of range: from {least} to {most} {unit}")


def _amount(
    name: str, value: Any, default: float, least: float, most: float, types: tuple[type, ...], unit: str
) -> tuple[float, float | None]:
    if value is None:
        return default, None
    if isinstance(value, tuple):
        if len(value) != 2:
            raise InvalidError(f"{name} is an amount in {unit} or a pair (request, limit), not {value!r}")
        request, limit = value
        _check_number(f"{name} (request)", request, least, most, unit, types)
        _check_number(f"{name} (limit)", limit, least, most, unit, types)
        if limit < request:
            raise InvalidError(f"{name}={value!r}: the limit is less than the request; write (request, limit)")
        return request, limit
    _check_number(name, value, least, most, unit, types)
    return value, None


def _check_env(env: Any) -> dict[str, str]:
    if env is None:
        return {}
    if not isinstance(env, dict):
        raise InvalidError(f"env is a dictionary of strings, not {env!r}")
    for key, value in env.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidError(f"env is a dictionary of strings: {key!r}: {value!r} is not (write {str(value)!r}?)")
        if not key or "=" in key or "\0" in key + value:
            raise InvalidError(f"env: {key!r} cannot be the name of an environment variable, or its value has a NUL")
    size = sum(len(key) + len(value) for key, value in env.items())
    if size > ENV_BYTES_MAX:
        raise InvalidError(f"env has {size} characters; at most {ENV_BYTES_MAX} are possible")
    return dict(env)


def _check_retries(value: Any) -> Retries:
    if isinstance(value, Retries):
        return value
    if value is None:
        return Retries(0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRIES:
        raise InvalidError(f"retries is a whole number from 0 to {MAX_RETRIES}, or ingle.Retries(…), not {value!r}")
    return Retries(value)


def _check_later(given: dict[str, Any]) -> None:
    """The types of options that a later version implements: what is wrong then is wrong now."""
    gpu, volumes = given["gpu"], given["volumes"]
    if gpu is not None and not _strings(gpu):
        raise InvalidError(f'gpu is a name such as "A100" or a list of names, not {gpu!r}')
    if given["cloud"] is not None and not isinstance(given["cloud"], str):
        raise InvalidError(f"cloud is a name, not {given['cloud']!r}")
    if given["region"] is not None and not _strings(given["region"]):
        raise InvalidError(f"region is a name or a list of names, not {given['region']!r}")
    if isinstance(given["schedule"], (str, int, float)):
        raise InvalidError(f"schedule is a schedule object, not {given['schedule']!r}")
    if not isinstance(given["secrets"], (list, tuple)):
        raise InvalidError(f"secrets is a list, not {given['secrets']!r}")
    if volumes is not None:
        if not isinstance(volumes, dict):
            raise InvalidError(f"volumes is a dictionary from path to volume, not {volumes!r}")
        for path in volumes:
            if not isinstance(path, str) or not path.startswith("/"):
                raise InvalidError(f'volumes: {path!r} is not an absolute path such as "/data"')


def _strings(value: object) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
