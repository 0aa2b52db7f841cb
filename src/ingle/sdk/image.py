"""An image as users write it."""

from __future__ import annotations

from ingle.runner import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ingle.model.image import ImageSpec

#: Minor versions of Python that an image may have, oldest and newest.
PYTHON_OLDEST = (3, 10)
PYTHON_NEWEST = (3, 14)


class Image:
    """What a container holds beside the user's own code. Made by `Image.debian_slim()`."""

    def __init__(self, _spec: ImageSpec | None = None):
        self._spec = _spec

    @classmethod
    def debian_slim(cls, python_version: str | None = None) -> Image:
        """A small Debian with Python.

        Args:
            python_version: a minor version such as "3.11"; default: that of this program.

        Raises:
            InvalidError: it is no such version.
        """
        if context.in_container:  # a cold start has no time for it, and nobody asks
            return cls()
        from ingle.model.image import ImageSpec

        return cls(ImageSpec(_minor_version(python_version)))

    def __repr__(self) -> str:
        return f"<ingle.Image debian_slim {self._spec.python}>" if self._spec else "<ingle.Image>"


def _minor_version(given: object) -> str:
    import sys

    from ingle.exceptions import InvalidError

    if given is None:
        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not isinstance(given, str):
        raise InvalidError(f'python_version is a string such as "3.11", not {given!r}')
    parts = given.split(".")
    if not 2 <= len(parts) <= 3 or not all(part.isdigit() for part in parts):
        raise InvalidError(f'python_version is a minor version such as "3.11", not {given!r}')
    minor = (int(parts[0]), int(parts[1]))
    if not PYTHON_OLDEST <= minor <= PYTHON_NEWEST:
        oldest, newest = (".".join(map(str, version)) for version in (PYTHON_OLDEST, PYTHON_NEWEST))
        raise InvalidError(f"there is no image with Python {given}: choose a version from {oldest} to {newest}")
    return f"{minor[0]}.{minor[1]}"
