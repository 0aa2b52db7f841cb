"""One suite for every Runtime: crun, runc and the fake keep the same contract."""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from ingle.exceptions import SetupError
from ingle.model.resources import Limits
from ingle.node import runtime as runtimes
from ingle.node.cgroup import Cgroups
from ingle.node.kernel import Kernel
from ingle.node.runtime import seccomp, spec
from ingle.node.runtime.base import Exit, RuntimeFault
from ingle.node.runtime.fake import FakeRuntime
from ingle.node.runtime.oci import OciRuntime
from ingle.testing.waiting import wait_until_async

BOUND_S = 20.0
#: Bits of NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN and MKNOD.
FORBIDDEN = 1 << 12 | 1 << 13 | 1 << 19 | 1 << 21 | 1 << 27
HOST_DIRECTORIES = ("usr", "bin", "sbin", "lib", "lib64", "lib32")


@pytest.fixture(scope="session")
def kernel():
    """In a mount namespace of this process's own, as the node has it."""
    kernel = Kernel()
    if os.geteuid() == 0:
        kernel.unshare_mounts()
    return kernel


def real(name: str):
    missing = os.geteuid() != 0 or shutil.which(name) is None
    return pytest.param(name, marks=[pytest.mark.root, pytest.mark.skipif(missing, reason=f"needs root and {name}")])


@pytest.fixture(params=[real("crun"), real("runc"), "fake"])
async def runtime(request, tmp_path, kernel):
    made = FakeRuntime() if request.param == "fake" else OciRuntime(request.param, tmp_path / "state", kernel)
    made.names = []
    yield made
    for name in made.names:
        await made.delete(name)


@pytest.fixture(params=[real("crun"), real("runc")])
async def contained(request, tmp_path, kernel):
    """A runtime with containers that isolate."""
    made = OciRuntime(request.param, tmp_path / "state", kernel)
    made.names = []
    yield made
    for name in made.names:
        await made.delete(name)


def bundle(directory: Path, argv: list[str], *, bpf: bool = False, **more) -> Path:
    """A bundle on the machine's own programs, read-only."""
    rootfs = directory / "rootfs"
    (rootfs / "root").mkdir(parents=True)
    (rootfs / "tmp").mkdir()
    binds = []
    for name in HOST_DIRECTORIES:
        host = Path("/", name)
        if host.is_symlink():
            (rootfs / name).symlink_to(os.readlink(host))
        elif host.is_dir():
            (rootfs / name).mkdir()
            binds.append(spec.Bind(str(host), str(host)))
    made = spec.ContainerSpec(str(rootfs), argv, "inside", None, binds=binds, seccomp_as_bpf=bpf, **more)
    (directory / "config.json").write_text(json.dumps(spec.oci_config(made)))
    return directory


async def start(runtime, directory: Path, script: str, name: str = "one", cgroup_procs=(), **more):
    place = directory / f"bundle-{name}"
    place.mkdir()
    made = bundle(place, ["/bin/sh", "-c", script], bpf=runtime.takes_bpf, **more)
    runtime.names.append(name)
    return await runtime.start(name, made, cgroup_procs=cgroup_procs)


async def read(fd: int) -> str:
    """Everything until the end of the stream; closes it."""
    loop, said, ended = asyncio.get_running_loop(), bytearray(), asyncio.Event()

    def on_readable():
        try:
            piece = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose other side is gone
            piece = b""
        said.extend(piece)
        if not piece:
            ended.set()

    loop.add_reader(fd, on_readable)
    try:
        await asyncio.wait_for(ended.wait(), BOUND_S)
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return said.decode()


async def output(runtime, started, name: str = "one") -> str:
    text, error = await asyncio.gather(read(started.stdout), read(started.stderr))
    os.close(started.pidfd)
    await asyncio.wait_for(runtime.wait(name), BOUND_S)
    return text + error


def close(started) -> None:
    for fd in (started.pidfd, started.stdout, started.stderr):
        os.close(fd)


async def test_a_process_runs_and_ends(runtime, tmp_path):
    started = await start(runtime, tmp_path, "echo out; echo err >&2; exit 7")
    assert started.pid > 0 and not os.get_blocking(started.stdout)
    assert await read(started.stdout) == "out\n" and await read(started.stderr) == "err\n"
    for _ in range(2):
        assert await asyncio.wait_for(runtime.wait("one"), BOUND_S) == Exit(7)
    os.close(started.pidfd)


async def test_the_pidfd_says_when_it_has_ended(runtime, tmp_path):
    started = await start(runtime, tmp_path, "exec sleep 60")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(started.pidfd, ended.set)
    assert not ended.is_set()
    runtime.kill("one", signal.SIGTERM if runtime.name == "fake" else signal.SIGKILL)
    await asyncio.wait_for(ended.wait(), BOUND_S)
    asyncio.get_running_loop().remove_reader(started.pidfd)
    close(started)


async def test_a_signal_arrives(runtime, tmp_path):
    started = await start(runtime, tmp_path, "trap 'echo heard; exit 3' USR1; echo ready; while :; do sleep 0.05; done")
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(started.stdout, ready.set)
    await asyncio.wait_for(ready.wait(), BOUND_S)
    loop.remove_reader(started.stdout)
    runtime.kill("one", signal.SIGUSR1)
    assert await output(runtime, started) == "ready\nheard\n"
    assert await runtime.wait("one") == Exit(3)


async def test_killing_and_deleting_what_is_not_there_is_quiet(runtime, tmp_path):
    runtime.kill("never", signal.SIGKILL)
    await runtime.delete("never")
    started = await start(runtime, tmp_path, "exit 0")
    await output(runtime, started)
    runtime.kill("one", signal.SIGKILL)
    for _ in range(2):
        await runtime.delete("one")
    assert runtime.leftovers() == []


async def test_delete_ends_what_runs(runtime, tmp_path):
    started = await start(runtime, tmp_path, "sleep 60 & sleep 60")
    waiting = asyncio.ensure_future(runtime.wait("one"))
    await asyncio.sleep(0)
    await runtime.delete("one")
    assert await asyncio.wait_for(waiting, BOUND_S) == Exit(-signal.SIGKILL)
    assert not os.path.exists(f"/proc/{started.pid}")
    close(started)


async def test_the_name_is_free_again_after_delete(runtime, tmp_path):
    for n in range(2):
        (tmp_path / str(n)).mkdir()
        started = await start(runtime, tmp_path / str(n), f"exit {n}")
        await output(runtime, started)
        assert await runtime.wait("one") == Exit(n)
        await runtime.delete("one")


async def test_a_start_that_fails_leaves_nothing(runtime, tmp_path):
    fds = set(os.listdir("/proc/self/fd"))
    place = tmp_path / "bundle"
    place.mkdir()
    with pytest.raises(RuntimeFault, match="one"):
        await runtime.start("one", bundle(place, ["/no/such/program"], bpf=runtime.takes_bpf))
    with pytest.raises(RuntimeFault):
        await runtime.start("two", tmp_path / "nothing")
    assert runtime.leftovers() == [] and set(os.listdir("/proc/self/fd")) <= fds
    with pytest.raises(RuntimeFault):
        await runtime.wait("one")


async def test_many_at_once(runtime, tmp_path):
    async def one(n: int) -> None:
        started = await start(runtime, tmp_path, f"echo {n}; exit {n}", name=f"c{n}")
        assert await output(runtime, started, f"c{n}") == f"{n}\n"
        assert await runtime.wait(f"c{n}") == Exit(n)
        await runtime.delete(f"c{n}")

    await asyncio.gather(*map(one, range(20)))
    assert runtime.leftovers() == []


async def test_no_process_of_the_runtime_stays_behind(runtime, tmp_path):
    before = {child.pid for child in psutil.Process().children()}
    started = await start(runtime, tmp_path, "exec sleep 60")
    process = await runtime.exec("one", ["/bin/true"], env={}, cwd="/", tty=False)
    assert await asyncio.wait_for(process.wait(), BOUND_S) == 0

    def others():
        return {child.pid for child in psutil.Process().children()} - before - {started.pid}

    await wait_until_async(lambda: not others(), "only the container is left")
    close(started)


async def test_exec(runtime, tmp_path):
    started = await start(runtime, tmp_path, "exec sleep 60")
    env = {"PATH": spec.PATH, "WHO": "me"}
    ran = await runtime.exec(
        "one", ["sh", "-c", "read x; echo $WHO $x; echo err >&2; exit 4"], env=env, cwd="/tmp", tty=False
    )
    os.write(ran.stdin, b"hello\n")
    os.close(ran.stdin)
    assert (await read(ran.stdout), await read(ran.stderr)) == ("me hello\n", "err\n")
    assert await asyncio.wait_for(ran.wait(), BOUND_S) == 4
    long = await runtime.exec("one", ["sleep", "60"], env=env, cwd="/", tty=False)
    long.kill()
    assert await asyncio.wait_for(long.wait(), BOUND_S) == -signal.SIGKILL
    for fd in (long.stdin, long.stdout, long.stderr):
        os.close(fd)
    close(started)


async def test_exec_on_a_terminal(runtime, tmp_path):
    started = await start(runtime, tmp_path, "exec sleep 60")
    env = {"PATH": spec.PATH}
    ran = await runtime.exec("one", ["sh", "-c", "read x; stty size; exit 5"], env=env, cwd="/", tty=True)
    assert ran.stdin == ran.stdout and ran.stderr == -1
    ran.resize(33, 99)
    os.write(ran.stdin, b"\n")
    assert "33 99" in await read(ran.stdout)
    assert await asyncio.wait_for(ran.wait(), BOUND_S) == 5
    close(started)


async def test_exec_where_it_cannot(runtime, tmp_path):
    with pytest.raises(RuntimeFault, match="does not run"):
        await runtime.exec("never", ["true"], env={}, cwd="/", tty=False)
    started = await start(runtime, tmp_path, "exec sleep 60")
    with pytest.raises(RuntimeFault, match="no-such-program"):
        await runtime.exec("one", ["no-such-program"], env={"PATH": spec.PATH}, cwd="/", tty=False)
    await asyncio.wait_for(runtime.delete("one"), BOUND_S)
    close(started)


# ---- what only containers do


async def test_a_container_is_alone(contained, tmp_path):
    script = "echo $$; hostname; ls /proc | grep -c '^[0-9]'; cat /proc/net/dev | grep -c :; id -u; ls /"
    lines = (await output(contained, await start(contained, tmp_path, script))).splitlines()
    assert lines[:2] == ["1", "inside"] and int(lines[2]) <= 4 and lines[3:5] == ["1", "0"]
    assert "home" not in lines and "work" not in lines


async def test_privileges(contained, tmp_path):
    profile = seccomp.default(frozenset(spec.CAPABILITIES))
    script = (
        "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; mount -t tmpfs none /tmp; "
        "unshare -U true; mknod /tmp/x b 8 0; echo 1 >/proc/sys/kernel/panic; echo x >/proc/sysrq-trigger; "
        "head -c1 /proc/kcore | wc -c; echo x >/usr/bin/x"
    )
    said = await output(contained, await start(contained, tmp_path, f"({script}) 2>&1", seccomp=profile))
    assert "NoNewPrivs:\t1" in said and "Seccomp:\t2" in said
    assert not int(said.partition("CapEff:\t")[2].split()[0], 16) & FORBIDDEN
    for refused in ("mount:", "unshare:", "mknod:", "panic", "sysrq-trigger", "/usr/bin/x"):
        assert refused in said, (refused, said)
    assert "\n0\n" in said, "kcore shows nothing"


async def test_a_further_process_has_no_more_rights(contained, tmp_path):
    started = await start(contained, tmp_path, "exec sleep 60", seccomp=seccomp.default(frozenset(spec.CAPABILITIES)))
    argv = ["grep", "-E", "NoNewPrivs|Seccomp:|CapEff", "/proc/self/status"]
    ran = await contained.exec("one", argv, env={"PATH": spec.PATH}, cwd="/", tty=False)
    inside = dict(line.split(":\t") for line in (await read(ran.stdout)).splitlines())
    assert inside["NoNewPrivs"] == "1" and inside["Seccomp"] == "2"
    assert not int(inside["CapEff"], 16) & FORBIDDEN
    for fd in (ran.stdin, ran.stderr):
        os.close(fd)
    close(started)


async def test_it_starts_in_its_cgroups(contained, tmp_path, kernel):
    cgroups = Cgroups(kernel, f"t{os.getpid():x}")
    cgroups.prepare()
    try:
        group = cgroups.create("one", 125, Limits(memory_mib=64, pids=30))
        started = await start(contained, tmp_path, "exec sleep 60", cgroup_procs=group.procs)
        assert group.pids() == [started.pid] and 0 < group.memory_bytes() < 64 << 20
        ran = await contained.exec("one", ["sleep", "60"], env={"PATH": spec.PATH}, cwd="/", tty=False)
        assert len(group.pids()) == 2, "exec is bound as well"
        group.kill()
        assert await asyncio.wait_for(contained.wait("one"), BOUND_S) == Exit(-signal.SIGKILL)
        await asyncio.wait_for(ran.wait(), BOUND_S)
        await contained.delete("one")
        group.delete()
        group.delete()
        for fd in (ran.stdin, ran.stdout, ran.stderr):
            os.close(fd)
        close(started)
    finally:
        cgroups.remove()


async def test_out_of_memory_is_counted(contained, tmp_path, kernel):
    cgroups = Cgroups(kernel, f"t{os.getpid():x}")
    cgroups.prepare()
    try:
        group = cgroups.create("one", 125, Limits(memory_mib=32))
        eat = f"exec {sys.executable if sys.executable.startswith('/usr') else '/usr/bin/python3'} -S -c 'x = bytearray(200 << 20)'"
        started = await start(contained, tmp_path, eat, cgroup_procs=group.procs)
        assert await asyncio.wait_for(contained.wait("one"), BOUND_S) == Exit(-signal.SIGKILL)
        assert group.oom_kills() == 1
        await contained.delete("one")
        close(started)
    finally:
        cgroups.remove()


async def test_another_life_clears_what_was_left(contained, tmp_path, kernel):
    started = await start(contained, tmp_path, "exec sleep 60")
    later = OciRuntime(contained.binary, contained.root, kernel)
    assert later.leftovers() == ["one"]
    await later.delete("one")
    assert later.leftovers() == []
    assert await asyncio.wait_for(contained.wait("one"), BOUND_S) == Exit(-signal.SIGKILL)
    close(started)


def test_choosing(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "fault", lambda binary: "" if binary == "runc" else "does not work here")
    if shutil.which("runc"):
        assert runtimes.choose(tmp_path).name == "runc"
    monkeypatch.setattr(runtimes, "fault", lambda binary: "gone")
    with pytest.raises(SetupError, match=r"crun: gone; runc: gone.*ingle setup"):
        runtimes.choose(tmp_path)


def test_a_binary_that_is_not_there(tmp_path):
    with pytest.raises(RuntimeFault, match="ingle setup"):
        OciRuntime("no-such-runtime", tmp_path)


# ---- the fake's faults


async def test_faults_of_the_fake(tmp_path):
    place = tmp_path / "b"
    place.mkdir()
    made = bundle(place, ["/bin/echo", "x"])
    with pytest.raises(RuntimeFault, match="told to fail"):
        await FakeRuntime(start="fails").start("one", made)
    with pytest.raises(ValueError, match="slow"):
        FakeRuntime(start="sometimes")
    ends = FakeRuntime(exit_code=137)
    close(await ends.start("one", made))
    assert await asyncio.wait_for(ends.wait("one"), BOUND_S) == Exit(137)
    never = FakeRuntime(start="never")
    started = await never.start("one", made)
    await never.delete("one")
    assert await read(started.stdout) == ""
    os.close(started.stderr)
    os.close(started.pidfd)
