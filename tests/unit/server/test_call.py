"""What is packed into the scheduler's opaque reasons comes out again."""

import os

import pytest

from ingle.server.call import pack_reason, unpack_reason
from ingle.wire.errors import Failure, unpack_failure


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\n\n", os.urandom(1000)])
def test_reasons_keep_every_byte(payload):
    assert unpack_reason(pack_reason("raised", payload)) == ("raised", payload)


def test_an_unknown_reason_becomes_a_failure():
    outcome, payload = unpack_reason("the moon was full")
    assert (outcome, unpack_failure(payload)) == ("failed", Failure("execution", "the moon was full"))
    assert unpack_failure(unpack_reason("")[1]).message
