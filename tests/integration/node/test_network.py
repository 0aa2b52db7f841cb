"""Real network namespaces: what is reachable from a container, and what is left behind."""

import asyncio
import http.server
import os
import shutil
import socket
import subprocess
import threading

import pytest

from ingle.node.kernel import Kernel
from ingle.node.network import NetworkPool

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nft"),
]
MARK = f"{os.getpid() & 0xFFFFFF:06x}"
BOUND_S = 20.0
CONNECT_S = 1.0


@pytest.fixture(scope="module")
def kernel():
    kernel = Kernel()
    kernel.unshare_mounts()
    return kernel


@pytest.fixture
async def pool(kernel, tmp_path):
    pool = NetworkPool(kernel, tmp_path / "net", MARK, size=2)
    await pool.start()
    yield pool
    await pool.close()
    await pool.close()
    assert not left()


def left() -> list[str]:
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    found = [line for line in tables.splitlines() if MARK in line]
    return found + [name for name in os.listdir("/sys/class/net") if MARK in name]


def inside(network, work):
    """Run `work` in a thread that has entered the namespace."""
    result = []

    def run():
        with open(network.ns_path) as namespace:
            Kernel().setns(namespace.fileno(), 0)
        try:
            result.append(work())
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(BOUND_S)
    return result[0]


def connect(address: str, port: int):
    def work():
        with socket.create_connection((address, port), timeout=CONNECT_S):
            return "connected"

    return work


@pytest.fixture
def host_server():
    """Something that listens on all addresses of this machine."""
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def own_addresses() -> list[str]:
    said = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    return [address for address in said if ":" not in address]


async def test_networks_are_kept_ready(pool):
    while len(pool._ready) < 2:
        await asyncio.wait([pool._refill_task], timeout=BOUND_S)
    first, second = await pool.take(), await pool.take()
    assert first.address != second.address and first.ns_path != second.ns_path
    third = await pool.take()
    assert len({first.address, second.address, third.address}) == 3
    for network in (first, second, third, first):
        await pool.give_back(network)


async def test_the_machine_is_out_of_reach(pool, host_server):
    network = await pool.take()
    gateway = network.address.rsplit(".", 1)[0] + "." + str(int(network.address.rsplit(".", 1)[1]) - 1)
    for address in ["127.0.0.1", gateway, *own_addresses()]:
        found = await asyncio.to_thread(inside, network, connect(address, host_server))
        assert isinstance(found, OSError), f"reached the machine at {address}"
    assert await asyncio.to_thread(connect("127.0.0.1", host_server)) == "connected"
    await pool.give_back(network)


async def test_other_containers_and_metadata_are_out_of_reach(pool):
    one, two = await pool.take(), await pool.take()

    def listen():
        server = socket.create_server((two.address, 0))
        server.settimeout(BOUND_S)
        return server

    server = await asyncio.to_thread(inside, two, listen)
    port = server.getsockname()[1]
    assert await asyncio.to_thread(inside, two, connect(two.address, port)) == "connected"
    assert isinstance(await asyncio.to_thread(inside, one, connect(two.address, port)), TimeoutError)
    assert isinstance(await asyncio.to_thread(inside, one, connect("169.254.169.254", 80)), TimeoutError)
    server.close()
    for network in (one, two):
        await pool.give_back(network)


async def test_a_blocked_network_has_loopback_and_nothing_else(pool):
    network = await pool.take(blocked=True)
    assert network.address == ""
    assert await asyncio.to_thread(inside, network, lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]

    def loop():
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), CONNECT_S),
        ):
            return "connected"

    assert await asyncio.to_thread(inside, network, loop) == "connected"
    assert isinstance(await asyncio.to_thread(inside, network, connect("192.0.2.1", 80)), OSError)
    await pool.give_back(network)


async def test_no_ipv6(pool):
    network = await pool.take()

    def read():
        with open("/proc/thread-self/net/if_inet6") as file:
            return file.read()

    assert await asyncio.to_thread(inside, network, read) == ""
    await pool.give_back(network)


async def test_two_nodes_share_a_machine(pool, kernel, tmp_path):
    taken = await pool.take()
    other = NetworkPool(kernel, tmp_path / "other", f"{int(MARK, 16) ^ 1:06x}", size=0)
    await other.start()
    try:
        theirs = await other.take()
        assert other.subnet != pool.subnet and theirs.address != taken.address
    finally:
        await other.close()
    assert left(), "the other one's rules and interfaces are still there"
    await pool.give_back(taken)


async def test_what_an_earlier_life_left_is_swept(pool, kernel, tmp_path):
    await pool.take()
    await asyncio.wait([pool._refill_task], timeout=BOUND_S)
    later = NetworkPool(kernel, tmp_path / "later", MARK, size=0)
    later.sweep()
    assert not left()
