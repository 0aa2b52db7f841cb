"""One platform for all tests that only use it; a place of their own for those that break it."""

import pytest
from e2e.support import Place


@pytest.fixture(scope="package")
def _shared():
    place = Place().start()
    yield place
    place.close()


@pytest.fixture
def ingle(_shared, request):
    """The shared platform, running. Its log is shown when the test fails."""
    yield _shared
    if getattr(request.node, "failed", False):
        print(_shared.logs())


@pytest.fixture
def lone(request):
    """A place of this test's own, not started; nothing may be left of it."""
    place = Place()
    yield place
    failed = getattr(request.node, "failed", False)
    if failed:
        print(place.logs())
    place.close(failed)
