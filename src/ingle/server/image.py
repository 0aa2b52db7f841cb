"""Images: which ones the running apps need, and how their builds go."""

from collections.abc import Callable

from ingle.model.image import ImageSpec
from ingle.server.session import Session, Sessions
from ingle.wire.api import Notice
from ingle.wire.node import EnsureImage, ImageState


class Images:
    def __init__(self, sessions: Sessions):
        self._sessions = sessions
        self._wanted: dict[str, tuple[ImageSpec, set[str]]] = {}  # by image id: the apps that want it
        self._building: dict[str, str] = {}  # by image id: the last line of its build
        self.to_nodes: Callable[[EnsureImage], None] = lambda message: None

    def want(self, app_id: str, specs: set[ImageSpec]) -> None:
        """The app needs these: every node makes sure that it has them."""
        for spec in specs:
            self._wanted.setdefault(spec.id, (spec, set()))[1].add(app_id)
            self.to_nodes(EnsureImage(spec))

    def unwant(self, app_id: str) -> None:
        for image_id, (_, apps) in list(self._wanted.items()):
            apps.discard(app_id)
            if not apps:
                del self._wanted[image_id]
                self._building.pop(image_id, None)

    def wanted(self) -> list[ImageSpec]:
        return [spec for spec, _ in self._wanted.values()]

    def progressed(self, node_name: str, message: ImageState) -> None:
        """A node says how a build goes. Nothing is shown of an image that was there."""
        if message.image not in self._wanted:
            return
        spec, apps = self._wanted[message.image]
        name = f"{spec.kind} (Python {spec.python})"
        if message.error:
            self._building.pop(message.image, None)
            notice = (f"image {name} cannot be built on {node_name}: {message.error}", True)
        elif message.done:
            if self._building.pop(message.image, None) is None:
                return
            notice = (f"image {name} is built", True)
        else:
            self._building[message.image] = message.line
            notice = (f"building image {name}: {message.line}" if message.line else f"building image {name}", False)
        for app in apps:
            self._sessions.tell(app, Notice(app, "warning" if message.error else "image", message.image, *notice))

    def catch_up(self, session: Session, app_id: str) -> None:
        """Tells a client that came late what is being built for its app."""
        for image_id, line in self._building.items():
            spec, apps = self._wanted[image_id]
            if app_id in apps:
                text = f"building image {spec.kind} (Python {spec.python}): {line}"
                session.send(Notice(app_id, "image", image_id, text))
