"""What a container may not do, and what it may. Arguments come from the test, which owns the other side."""

import ctypes
import errno
import json
import os
import platform
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import ingle

app = ingle.App("walls")
MIB = 1 << 20
#: Capabilities by number that no Python program needs.
FORBIDDEN = {
    "dac_read_search": 2, "setpcap": 8, "linux_immutable": 9, "net_admin": 12, "net_raw": 13, "ipc_owner": 15,
    "sys_module": 16, "sys_rawio": 17, "sys_ptrace": 19, "sys_admin": 21, "sys_boot": 22, "sys_resource": 24,
    "sys_time": 25, "mknod": 27, "mac_admin": 33, "syslog": 34, "bpf": 39, "perfmon": 38, "checkpoint_restore": 40,
}  # fmt: skip
CALLS = {
    "x86_64": {"mount": 165, "unshare": 272, "setns": 308, "keyctl": 250, "bpf": 321, "reboot": 169, "init_module": 175,
               "kexec_load": 246, "ptrace_attach": 101, "add_key": 248, "swapon": 167, "pivot_root": 155},
    "aarch64": {"mount": 40, "unshare": 97, "setns": 268, "keyctl": 219, "bpf": 280, "reboot": 142, "init_module": 105,
                "kexec_load": 104, "ptrace_attach": 117, "add_key": 217, "swapon": 224, "pivot_root": 41},
}  # fmt: skip
CLONE_NEWUSER = 0x10000000


def status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def refused(path, mode):
    try:
        with open(path, mode) as file:
            return file.read(1) == "" if mode == "r" else False
    except OSError:
        return True


@app.function()
def privileges():
    said = status()
    libc = ctypes.CDLL(None, use_errno=True)
    outcomes = {}
    for name, number in CALLS[platform.machine()].items():
        ctypes.set_errno(0)
        first = {"unshare": CLONE_NEWUSER, "ptrace_attach": 16, "setns": -1}.get(name, 0)
        if name == "ptrace_attach":
            continue
        result = libc.syscall(number, first, 0, 0, 0, 0)
        outcomes[name] = errno.errorcode.get(ctypes.get_errno(), "0") if result == -1 else "done"
    families = {}
    for name in ("AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_CAN", "AF_UNIX", "AF_INET6", "AF_NETLINK"):
        try:
            socket.socket(getattr(socket, name), socket.SOCK_DGRAM).close()
            families[name] = "made"
        except OSError as error:
            families[name] = errno.errorcode[error.errno or 0]
    return {
        "families": families,
        "effective": int(said["CapEff"], 16),
        "bounding": int(said["CapBnd"], 16),
        "no_new_privs": said.get("NoNewPrivs", "").strip(),
        "seccomp": said.get("Seccomp", "").strip(),
        "calls": outcomes,
        "masked": {
            "kcore": refused("/proc/kcore", "r"),
            "keys": refused("/proc/keys", "r"),
            "timer_list": refused("/proc/timer_list", "r"),
            "sysrq": refused("/proc/sysrq-trigger", "w"),
            "sys": refused("/proc/sys/kernel/hostname", "w"),
            "firmware": not os.path.isdir("/sys/firmware") or not os.listdir("/sys/firmware"),
        },
    }


@app.function()
def surroundings():
    def names(path):
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    return {
        "pid": os.getpid(),
        "pids": [int(name) for name in os.listdir("/proc") if name.isdigit()],
        "host": socket.gethostname(),
        "env": dict(os.environ),
        "state": names("/var/lib/ingle"),
        "mounts": [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()],
        "io": names("/run/ingle"),
        "io_writable": os.access("/run/ingle", os.W_OK) and not refused("/run/ingle/probe", "w"),
        "lib_writable": not refused("/ingle/lib/probe", "w"),
        "links": [name for _, name in socket.if_nameindex()],
        "uids": Path("/proc/self/uid_map").read_text().split(),
        "devices": names("/dev"),
    }


def can_connect(host, port, bound_s=3):
    try:
        with socket.create_connection((host, port), bound_s):
            return True
    except OSError:
        return False


@app.function()
def reach(targets):
    return [can_connect(host, port) for host, port in targets]


@app.function()
def gateway():
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == "00000000":
            return socket.inet_ntoa(int(fields[2], 16).to_bytes(4, sys.byteorder))
    return None


@app.function()
def listens():
    """Yields where it listens, then whether somebody came."""
    server = socket.socket()
    server.bind(("0.0.0.0", 0))
    server.listen()
    server.settimeout(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        yield probe.getsockname()[0], server.getsockname()[1]
    try:
        server.accept()
        yield True
    except TimeoutError:
        yield False


@app.function()
def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (ssl.SSLError, OSError) as error:
        return repr(error)


@app.function(block_network=True)
def blocked(targets):
    return [name for _, name in socket.if_nameindex()], [can_connect(host, port) for host, port in targets]


@app.function(memory=(128, 192))
def eats(mib):
    data = bytearray(mib * MIB)
    for at in range(0, len(data), 4096):
        data[at] = 1
    return len(data)


@app.function(memory=512)
def forks():
    made = []
    stop = threading.Event()
    threading.stack_size(64 << 10)
    try:
        while len(made) < 6000:
            thread = threading.Thread(target=stop.wait, daemon=True)
            thread.start()
            made.append(thread)
    except RuntimeError:
        pass
    finally:
        stop.set()
    return len(made)


@app.function(cpu=(0.1, 0.2))
def spins(seconds):
    start, used = time.monotonic(), time.process_time()
    while time.monotonic() - start < seconds:
        pass
    return (time.process_time() - used) / (time.monotonic() - start)


@app.function(single_use_containers=True)
def scribbles(text):
    before = os.path.exists("/usr/share/scribble")
    with open("/usr/share/scribble", "w") as file:
        file.write(text)
    with open("/usr/share/scribble") as file:
        return before, file.read()


@app.local_entrypoint()
def privileges_are_few():
    got = privileges.remote()
    for name, bit in FORBIDDEN.items():
        assert not got["effective"] >> bit & 1, f"effective: {name}"
        assert not got["bounding"] >> bit & 1, f"bounding: {name}"
    assert got["no_new_privs"] == "1" and got["seccomp"] == "2", got
    for name, outcome in got["calls"].items():
        assert outcome in ("EPERM", "ENOSYS", "EACCES"), f"{name}: {outcome}"
    made = {name for name, outcome in got["families"].items() if outcome == "made"}
    assert made <= {"AF_UNIX", "AF_INET6", "AF_NETLINK"} and "AF_NETLINK" in made, got["families"]
    open_doors = [name for name, closed in got["masked"].items() if not closed]
    assert not open_doors, open_doors


@app.local_entrypoint()
def the_surroundings_are_its_own(token: str):
    got = surroundings.remote()
    assert got["pid"] < 20 and all(pid < 100 for pid in got["pids"]), got
    assert got["host"] != socket.gethostname(), got["host"]
    assert token not in json.dumps(got), "the token is inside"
    assert "INGLE_TOKEN" not in got["env"] and not got["state"], got
    assert not got["io_writable"] and not got["lib_writable"], got
    assert not [name for name in got["devices"] if name.startswith(("vd", "sd", "nvme", "kmsg", "mem"))], got["devices"]
    other = surroundings.remote()
    assert other["host"] == got["host"], "the same container answers"


@app.local_entrypoint()
def the_host_is_out_of_reach(targets: str):
    """Targets: JSON, all of them answer on the host."""
    doors = [tuple(target) for target in json.loads(targets)]
    way_out = gateway.remote()
    if way_out:
        doors += [(way_out, port) for _, port in doors]
    doors += [("169.254.169.254", 80), ("127.0.0.1", 22)]
    got = reach.remote(doors)
    open_doors = [door for door, reached in zip(doors, got, strict=False) if reached]
    assert not open_doors, f"reached from inside: {open_doors}"
    links, got = blocked.remote(doors)
    assert links == ["lo"] and not any(got), (links, got)


@app.local_entrypoint()
def other_containers_are_out_of_reach():
    there = listens.remote_gen()
    address = next(there)
    assert reach.remote([address]) == [False], f"{address} was reached"
    assert next(there) is False


@app.local_entrypoint()
def the_world_is_in_reach_and_trusted(url: str):
    status = fetch.remote(url)
    assert isinstance(status, int) and 200 <= status < 500, status


@app.local_entrypoint()
def memory_is_bounded():
    assert eats.remote(20) == 20 * MIB
    try:
        eats.remote(600)
    except ingle.exceptions.OutOfMemoryError as error:
        assert "192" in str(error), f"the limit is not named: {error}"
    else:
        raise AssertionError("600 MiB fit into 192")
    assert eats.remote(20) == 20 * MIB


@app.local_entrypoint()
def processes_are_bounded():
    assert 1000 < forks.remote() <= 4096


@app.local_entrypoint()
def cpu_is_bounded():
    share = spins.remote(2.0)
    assert share < 0.45, f"{share:.2f} of a core with a limit of 0.2"


@app.local_entrypoint()
def what_it_writes_is_its_own():
    assert scribbles.remote("one") == (False, "one")
    assert scribbles.remote("two") == (False, "two")
