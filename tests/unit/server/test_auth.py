"""Tokens and versions."""

import pytest

from ingle.exceptions import AuthError, VersionError
from ingle.server.auth import check_token, check_version
from ingle.wire.version import VERSION_HEADER, WIRE_VERSION


def test_the_right_token_passes():
    check_token({"Authorization": "Bearer secret"}, "secret")
    check_token({"Authorization": "bearer secret "}, "secret")


@pytest.mark.parametrize(
    "header",
    [None, "", "secret", "Bearer", "Bearer ", "Bearer secre", "Basic secret", "Bearer sécret", "Bearer \udcff\udcfe"],
)
def test_any_other_does_not(header):
    with pytest.raises(AuthError, match="token"):
        check_token({} if header is None else {"Authorization": header}, "secret")


def test_a_server_without_a_token_lets_nobody_in():
    with pytest.raises(AuthError):
        check_token({"Authorization": "Bearer "}, "")


def test_only_the_same_wire_passes():
    check_version({VERSION_HEADER: str(WIRE_VERSION)})
    for headers in ({}, {VERSION_HEADER: ""}, {VERSION_HEADER: f"{WIRE_VERSION}.0"}, {VERSION_HEADER: "\udcff"}):
        with pytest.raises(VersionError, match="install the same version") as raised:
            check_version(headers)
        str(raised.value).encode()
