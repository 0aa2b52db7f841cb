"""The few rtnetlink requests that a container's network takes: a veth pair, an address, a route.

A process of `ip` costs 3 ms and more each time; the same through this socket 0.1 ms. A socket belongs to the network
namespace of the thread that made it. Layouts: rtnetlink(7), linux/if_link.h.
"""

import errno
import os
import socket
import struct

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE = 16, 17, 20, 24
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR = 2
_IFF_UP = 1
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 4, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_OIF, _RTA_GATEWAY = 4, 5
_RT_TABLE_MAIN, _RTPROT_BOOT, _RTN_UNICAST = 254, 3, 1
ANSWER_S_MAX = 5.0


class Netlink:
    """A socket to the kernel's routing part, in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(ANSWER_S_MAX)
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def add_veth(self, name: str, peer: str, peer_namespace: int, mtu: int) -> None:
        """A pair: `name` here, `peer` in the namespace behind that descriptor.

        Raises:
            OSError: the kernel refused, such as for a name in use.
        """
        size = _attribute(_IFLA_MTU, struct.pack("=I", mtu))
        peer_part = _link(0, 0, 0) + _attribute(_IFLA_IFNAME, peer.encode() + b"\0") + size
        peer_part += _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
        info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_INFO_PEER, peer_part))
        body = _link(0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + size
        body += _attribute(_IFLA_LINKINFO, info)
        self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, body, f"add veth {name}")

    def delete(self, name: str) -> None:
        """Remove an interface, and its peer with it. Quiet if there is none."""
        try:
            self._ask(_DELLINK, 0, _link(0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0"), f"delete {name}")
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def up(self, index: int) -> None:
        self._ask(_NEWLINK, 0, _link(index, _IFF_UP, _IFF_UP), f"interface {index} up")

    def add_address(self, index: int, address: str, prefix: int) -> None:
        raw = socket.inet_aton(address)
        body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, index)
        body += _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw)
        self._ask(_NEWADDR, _CREATE | _EXCLUSIVE, body, f"address {address}/{prefix}")

    def add_default_route(self, index: int, gateway: str) -> None:
        body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, 0, _RTN_UNICAST, 0)
        body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway)) + _attribute(_RTA_OIF, struct.pack("=I", index))
        self._ask(_NEWROUTE, _CREATE | _EXCLUSIVE, body, f"default route by {gateway}")

    def index(self, name: str) -> int:
        """The number of an interface in this socket's namespace, provided the calling thread is there too."""
        return socket.if_nametoindex(name)

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> None:
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST | _ACK, self._sequence, 0)
        self._socket.send(header + body)
        answer = self._socket.recv(1 << 16)
        (answered,) = struct.unpack_from("=H", answer, 4)
        code = struct.unpack_from("=i", answer, 16)[0] if answered == _ERROR else 0
        if code:
            raise OSError(-code, f"{what}: {os.strerror(-code)}")


def _link(index: int, flags: int, change: int) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
