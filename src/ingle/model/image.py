"""An image as a recipe; the node turns it into layers."""

import hashlib
import json
from dataclasses import dataclass

from ingle.model import ids

#: Part of every layer's name: raise it when the builder would make something else of the same recipe.
BUILDER_VERSION = 1


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """`debian_slim` of a Python minor version. Further steps come with a later issue."""

    python: str  #: minor version, such as "3.11"
    kind: str = "debian_slim"

    @property
    def id(self) -> str:
        recipe = json.dumps([BUILDER_VERSION, self.kind, self.python])
        return f"{ids.IMAGE}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
