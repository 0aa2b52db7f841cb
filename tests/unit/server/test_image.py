"""What people hear of builds."""

from ingle.model.image import ImageSpec
from ingle.server.image import Images
from ingle.server.session import Sessions
from ingle.wire.api import CODEC
from ingle.wire.node import EnsureImage, ImageState

SPEC = ImageSpec("3.11")


class FakeLink:
    def __init__(self):
        self.said = []

    def send(self, frame):
        self.said.append(CODEC.decode(frame)[0])

    def backlog(self):
        return 0

    def close(self, reason):
        pass


def made():
    sessions, link = Sessions(), FakeLink()
    session = sessions.connected("se-1", link)
    sessions.watch(session, "ap-1", logs=True)
    images, asked = Images(sessions), []
    images.to_nodes = asked.append
    images.want("ap-1", {SPEC})
    assert asked == [EnsureImage(SPEC)]
    return images, session, link.said


def test_an_image_that_is_there_is_not_mentioned():
    images, _, said = made()
    images.progressed("n1", ImageState(SPEC.id, done=True))
    assert said == []


def test_a_build_is_shown_line_by_line():
    images, session, said = made()
    images.progressed("n1", ImageState(SPEC.id, "step 1"))
    images.catch_up(session, "ap-1")
    images.progressed("n1", ImageState(SPEC.id, done=True))
    assert [(n.kind, n.topic, n.done) for n in said] == [("image", SPEC.id, False)] * 2 + [("image", SPEC.id, True)]
    assert "step 1" in said[0].text and "step 1" in said[1].text


def test_a_failure_is_a_warning():
    images, _, said = made()
    images.progressed("n1", ImageState(SPEC.id, done=True, error="no network"))
    assert said[0].kind == "warning" and "n1" in said[0].text and "no network" in said[0].text


def test_nobody_hears_of_images_of_apps_that_have_stopped():
    images, _, said = made()
    images.unwant("ap-1")
    assert images.wanted() == []
    images.progressed("n1", ImageState(SPEC.id, "step 1"))
    assert said == []
