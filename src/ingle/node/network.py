"""Network namespaces for containers: a pool of ready ones, with a way out and no way in.

Each namespace has one end of a veth pair with a /30 of its own; the node is its gateway and masquerades. One static
nftables table serves all of a node's containers (by the prefix of their interfaces' names), so that starting one takes no
call to nft. From a container these are unreachable: the machine itself whatever its addresses, other containers,
link-local addresses (cloud metadata) and multicast. Nothing outside reaches a container.

A namespace is held by a file on a tmpfs in the node's own mount namespace. Killed in any way, the node takes both along,
and the kernel removes namespace and veth pair.
"""

import asyncio
import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

from ingle.exceptions import SetupError
from ingle.node.kernel import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, Kernel
from ingle.node.netlink import Netlink

POOL_SIZE = 4
MAKERS = 2
NFT_S_MAX = 20.0
#: Subnets are cut out of this network; each node takes one /16 of it that no route of the machine touches.
PRIVATE = ipaddress.IPv4Network("10.0.0.0/8")
NODE_PREFIX, CONTAINER_PREFIX = 16, 30
#: Never reachable from a container: link-local (cloud metadata), loopback, multicast, broadcast, "this network".
UNREACHABLE = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
INSIDE_NAME = "eth0"
#: What the interfaces of every node on a machine begin with.
PREFIX = "ing"
MTU_DEFAULT = 1500
RESOLV_CONF = Path("/etc/resolv.conf")
#: Where systemd-resolved keeps the name servers behind its loopback address.
RESOLV_CONF_UPSTREAM = Path("/run/systemd/resolve/resolv.conf")
IPTABLES = "iptables"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Network:
    ns_path: str
    address: str  #: of the container; "" where it has nothing but loopback
    name: str = ""  #: of the namespace; of its interface on the node
    slot: int = -1


class NetworkPool:
    """The node's namespaces.

    Args:
        root: an empty directory; a tmpfs is mounted there (the process must be in a mount namespace of its own).
        mark: tells this node's interfaces and table from those of another (see mark.py).
        size: so many are kept ready.
    """

    def __init__(self, kernel: Kernel, root: Path, mark: str = "node", size: int = POOL_SIZE) -> None:
        self.kernel = kernel
        self.root = root
        self.size = size
        self.prefix = f"{PREFIX}{mark}"[:9]  # with a number behind it, within the kernel's 15 characters
        self.table = f"ingle_{mark}"
        self.subnet: ipaddress.IPv4Network | None = None
        self._ready: deque[Network] = deque()
        self._given: dict[str, Network] = {}
        self._slots: deque[int] = deque()
        self._numbers = count(1)
        self._mtu = MTU_DEFAULT
        self._refill_task: asyncio.Task | None = None
        self._closed = False
        # Threads of its own: each enters a fresh namespace and must never do anything else afterwards.
        self._threads = ThreadPoolExecutor(MAKERS, thread_name_prefix="network")

    async def start(self) -> None:
        """Clear leftovers, lay down the rules and fill the pool in the background.

        Raises:
            SetupError: the machine lacks nftables, or refuses it.
        """
        await asyncio.get_running_loop().run_in_executor(self._threads, self._prepare)
        self._refill()

    async def take(self, blocked: bool = False) -> Network:
        """A namespace for one container. `blocked`: nothing but loopback in it.

        Raises:
            OSError: the kernel refused.
        """
        if blocked or not self._ready:
            network = await self._in_thread(self._make_blocked if blocked else self._make)
        else:
            network = self._ready.popleft()
        self._given[network.ns_path] = network
        self._refill()
        return network

    async def give_back(self, network: Network) -> None:
        """Destroy it: a used namespace is not used again. Twice is fine."""
        if self._given.pop(network.ns_path, None) is not None:
            await self._in_thread(lambda: self._destroy(network))

    async def close(self) -> None:
        """Destroy all namespaces and remove the rules. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        if self._refill_task:
            await asyncio.wait([self._refill_task])
        for network in [*self._ready, *self._given.values()]:
            await self._in_thread(partial(self._destroy, network))
        self._ready.clear()
        self._given.clear()
        await self._in_thread(self.sweep)
        self.kernel.umount(str(self.root))
        self._threads.shutdown(wait=True)

    def sweep(self) -> None:
        """Remove interfaces and rules that an earlier life of this node left."""
        with Netlink() as netlink:
            for name in os.listdir("/sys/class/net"):
                if name.startswith(self.prefix):
                    netlink.delete(name)
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["nft", "delete", "table", "inet", self.table], capture_output=True, timeout=NFT_S_MAX)
        for rule in _iptables_rules(self.prefix):
            _iptables("-D", "FORWARD", *rule)

    def _prepare(self) -> None:
        self.sweep()
        self.root.mkdir(parents=True, exist_ok=True)
        self.kernel.mount("tmpfs", str(self.root), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")
        table = self.kernel.read("/proc/net/route")
        self.subnet = choose_subnet(routes(table), start=zlib.crc32(self.table.encode()))
        self._mtu = self._mtu_outward(table)
        self._slots = deque(range(2 ** (CONTAINER_PREFIX - NODE_PREFIX)))
        self.kernel.write("/proc/sys/net/ipv4/ip_forward", "1")
        rules = ruleset(self.table, self.prefix, str(self.subnet), own_nameservers())
        try:
            done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, timeout=NFT_S_MAX)
        except (OSError, subprocess.SubprocessError) as error:
            raise SetupError(f"cannot run nft, which containers' networks need ({error}); run `ingle setup`") from error
        if done.returncode:
            raise SetupError(f"nft refused the rules for containers: {done.stderr.strip()}; run `ingle doctor`")
        if forward_is_dropped():
            # A drop policy elsewhere (Docker's, ufw's) overrules an accept in our table: it has to be accepted there.
            for rule in _iptables_rules(self.prefix):
                _iptables("-I", "FORWARD", *rule)

    def _refill(self) -> None:
        """Bring the pool back to its size, in the background."""
        if self._closed or (self._refill_task and not self._refill_task.done()):
            return
        if len(self._ready) < self.size:
            self._refill_task = asyncio.ensure_future(self._fill())

    async def _fill(self) -> None:
        while len(self._ready) < self.size and not self._closed:
            try:
                self._ready.append(await self._in_thread(self._make))
            except OSError:
                return  # the next `take` makes its own, and says why it cannot

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run in a thread that ends with the work, as it may have entered a namespace; MAKERS of them at a time."""

        def run() -> T:
            result: list[T] = []
            failed: list[BaseException] = []

            def inside() -> None:
                try:
                    result.append(work())
                except BaseException as error:
                    failed.append(error)

            thread = threading.Thread(target=inside, name="network-maker", daemon=True)
            thread.start()
            thread.join()
            if failed:
                raise failed[0]
            return result[0]

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _make(self) -> Network:
        """A namespace with a veth pair. Runs in a thread of its own, which is lost to the new namespace."""
        if self.subnet is None or not self._slots:
            raise OSError(
                "no address is left for another container" if self.subnet else "the network pool is not started"
            )
        slot = self._slots.popleft()
        gateway, address = addresses(self.subnet, slot)
        name = f"{self.prefix}{slot:x}"
        path = str(self.root / f"{next(self._numbers)}")
        home = Netlink()  # made before leaving, so it stays at home
        try:
            namespace = self._enter_new(path)
            try:
                with Netlink() as inside:
                    inside.up(1)  # lo is always the first
                    home.add_veth(name, INSIDE_NAME, namespace, self._mtu)
                    index = inside.index(INSIDE_NAME)
                    inside.add_address(index, address, CONTAINER_PREFIX)
                    inside.up(index)
                    home_index = int(self.kernel.read(f"/sys/class/net/{name}/ifindex"))
                    home.add_address(home_index, gateway, CONTAINER_PREFIX)
                    home.up(home_index)
                    inside.add_default_route(index, gateway)
            finally:
                os.close(namespace)
        except BaseException:
            self._destroy(Network(path, address, name, slot))
            raise
        finally:
            home.close()
        return Network(path, address, name, slot)

    def _make_blocked(self) -> Network:
        path = str(self.root / f"{next(self._numbers)}")
        os.close(self._enter_new(path))
        with Netlink() as inside:
            inside.up(1)
        return Network(path, "")

    def _enter_new(self, path: str) -> int:
        """Enter a fresh namespace, hold it by `path`, and turn IPv6 off in it; returns a descriptor of it."""
        self.kernel.unshare_network()
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))
        own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        self.kernel.mount(own, path, "", MS_BIND)
        for scope in ("all", "default"):
            with contextlib.suppress(OSError):  # a kernel without IPv6
                self.kernel.write(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "1")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _destroy(self, network: Network) -> None:
        self.kernel.umount(network.ns_path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(network.ns_path)
        # With the last process of it gone the kernel removes namespace and veth pair by itself, many at a time; asked for
        # each pair it takes 30 ms. The slot goes to the end of a long queue, so its name is free when its turn comes.
        if network.slot >= 0:
            self._slots.append(network.slot)

    def _mtu_outward(self, route_table: str) -> int:
        """A larger packet than the way out takes would be lost where routers do not say so."""
        for line in route_table.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 7 and int(fields[7], 16) == 0:
                with contextlib.suppress(OSError, ValueError):
                    return int(self.kernel.read(f"/sys/class/net/{fields[0]}/mtu"))
        return MTU_DEFAULT


def addresses(subnet: ipaddress.IPv4Network, slot: int) -> tuple[str, str]:
    """The gateway's and the container's address in the subnet's /30 of that number."""
    base = int(subnet.network_address) + slot * 4
    return str(ipaddress.ip_address(base + 1)), str(ipaddress.ip_address(base + 2))


def routes(text: str) -> list[ipaddress.IPv4Network]:
    """Every destination but the default in a /proc/net/route."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7:
            destination, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
            if mask:
                found.append(ipaddress.IPv4Network((destination & mask, bin(mask).count("1"))))
    return found


def choose_subnet(taken: Iterable[ipaddress.IPv4Network], start: int) -> ipaddress.IPv4Network:
    """The first /16, counted from number `start`, that overlaps none of those.

    Raises:
        SetupError: none is free.
    """
    taken = list(taken)
    size = 2 ** (NODE_PREFIX - PRIVATE.prefixlen)
    for i in range(size):
        base = int(PRIVATE.network_address) + ((start + i) % size << (32 - NODE_PREFIX))
        subnet = ipaddress.IPv4Network((base, NODE_PREFIX))
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise SetupError(f"no /{NODE_PREFIX} of {PRIVATE} is free for containers; see `ip route`")


def ruleset(table: str, prefix: str, subnet: str, nameservers: Iterable[str] = ()) -> str:
    """The table of a node, as `nft -f` reads it. `nameservers`: addresses of this machine that answer DNS for it."""
    ours = f'"{prefix}*"'
    dns = ", ".join(nameservers)
    own_dns = f"iifname {ours} ip daddr {{ {dns} }} meta l4proto {{ tcp, udp }} th dport 53 accept" if dns else ""
    return f"""
table inet {table} {{
    chain forward {{
        type filter hook forward priority filter - 5; policy accept;
        iifname != {ours} oifname != {ours} accept
        oifname {ours} ct state established,related accept
        oifname {ours} drop
        meta nfproto != ipv4 drop
        ip saddr != {subnet} drop
        oifname "{PREFIX}*" drop
        ip daddr {{ {", ".join(UNREACHABLE)} }} drop
        accept
    }}
    chain input {{
        type filter hook input priority filter - 5; policy accept;
        iifname != {ours} accept
        {own_dns}
        drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != {ours} masquerade
    }}
}}
"""


def resolv_conf(text: str | None = None, upstream: str | None = None) -> str:
    """What containers get as /etc/resolv.conf: the machine's own, without name servers that only it can reach."""
    text = _read(RESOLV_CONF) if text is None else text
    if _loopback_only(text):
        upstream = _read(RESOLV_CONF_UPSTREAM) if upstream is None else upstream
        text = upstream or text
    kept = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1 and not _reachable(words[1]):
            continue
        if words and words[0] in ("nameserver", "search", "options", "domain"):
            kept.append(line.strip())
    return "\n".join(kept) + "\n"


def own_nameservers(text: str | None = None) -> list[str]:
    """Name servers for containers that are addresses of this machine (a resolver that listens on its LAN address)."""
    found = []
    for line in (resolv_conf() if text is None else text).splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and _is_own(words[1]):
            found.append(words[1])
    return found


def forward_is_dropped() -> bool:
    """Whether iptables rules of others drop what is forwarded and not accepted there."""
    return _iptables("-S", "FORWARD").startswith("-P FORWARD DROP")


def _iptables_rules(prefix: str) -> list[list[str]]:
    outward = ["-i", f"{prefix}+", "-j", "ACCEPT"]
    back = ["-o", f"{prefix}+", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"]
    return [outward, back]


def _iptables(*arguments: str) -> str:
    """What iptables prints; "" where there is none or it refuses."""
    if shutil.which(IPTABLES) is None:
        return ""
    try:
        done = subprocess.run([IPTABLES, "-w", "5", *arguments], capture_output=True, text=True, timeout=NFT_S_MAX)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _loopback_only(text: str) -> bool:
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver ") and line.split()[1:]]
    return not any(map(_reachable, servers))


def _reachable(server: str) -> bool:
    """By a container: an IPv4 address that is not loopback."""
    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback


def _is_own(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
