"""The supervisor: starts the server and the node, starts them again when they die, stops them together.

It is run as a script of the standard library alone (`python -S -E supervisor.py`), because it lives as long as the
platform and should cost next to nothing: about 10 MB.

Each child has three pipes. Its stdin never carries a byte: its end tells the child that the supervisor is gone, even
by kill -9. Its stdout carries JSON lines for the supervisor: `{"ready": …}` or `{"error": "…"}`. Its stderr is its
log, which the supervisor writes to a bounded file.

A child that dies is started again after 0.1 s, then 0.2 s, … at most 5 s. Three things end it all: a signal, a child
that says its configuration is wrong (CONFIG_ERROR_CODE) at its first start or for CONFIG_PATIENCE_S, and a child that
never once became ready in FIRST_TRIES.
The node starts when the server first answers; it outlives the server's restarts, as its containers do.
"""

import json
import os
import select
import signal
import sys
import time

CONFIG_ERROR_CODE = 78
BACKOFF_S_FIRST, BACKOFF_S_MAX = 0.1, 5.0
#: A child that lived so long starts with the first backoff again.
STEADY_S = 2.0
FIRST_TRIES = 3
#: A child that was ready before and now says that its configuration is wrong is tried again for so long: the disk is
#: full, the runtime is just being upgraded, somebody sits on the port. What has been accepted waits meanwhile.
CONFIG_PATIENCE_S = 600.0
NODE_STOP_S, SERVER_STOP_S = 25.0, 10.0
LOG_BYTES_MAX = 4 << 20
TAIL_BYTES = 2000
LINE_BYTES_MAX = 64 << 10


class LogFile:
    """A file of at most LOG_BYTES_MAX, and one older one beside it."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 (held for the life of the process)
        self.size = self.file.tell()
        self.tail = b""

    def write(self, data):
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        try:
            if self.file.closed or self.size + len(data) > LOG_BYTES_MAX:
                self.file.close()
                if os.path.exists(self.path):  # not if a full disk had no room for a new one the last time
                    os.replace(self.path, self.path + ".1")
                self.file = open(self.path, "ab", buffering=0)  # noqa: SIM115
                self.size = 0
            self.file.write(data)
            self.size += len(data)
        except (OSError, ValueError):
            pass  # a full disk must not take the platform down


class Child:
    """One program to keep alive."""

    def __init__(self, name, argv, log_path):
        self.name, self.argv = name, argv
        self.log = LogFile(log_path)
        self.pid = None
        self.life = self.out = self.err = None
        self.said = b""  # an unfinished line of stdout
        self.ready = None  # what it said last when it was ready
        self.error = ""
        self.was_ready = False
        self.failures = 0  # since it last was ready
        self.wrong_since = None  # it was ready, and says since then that its configuration is wrong
        self.backoff = BACKOFF_S_FIRST
        self.started_at = 0.0
        self.start_at = None  # when to start it (again); None: not now

    def start(self):
        self.start_at = None
        self.ready, self.error, self.said = None, "", b""
        self.started_at = time.monotonic()
        life_in, self.life = os.pipe()
        self.out, out_in = os.pipe()
        self.err, err_in = os.pipe()
        try:
            self.pid = os.posix_spawn(
                self.argv[0],
                self.argv,
                {**os.environ, "INGLE_SUPERVISED": "1"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, life_in, 0),
                    (os.POSIX_SPAWN_DUP2, out_in, 1),
                    (os.POSIX_SPAWN_DUP2, err_in, 2),
                ],
                # A group of its own: Ctrl-C in the terminal is for the supervisor, which stops them in order.
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
            )
        finally:
            for descriptor in (life_in, out_in, err_in):
                os.close(descriptor)
        os.set_blocking(self.out, False)
        os.set_blocking(self.err, False)

    def descriptors(self):
        return [d for d in (self.out, self.err) if d is not None]

    def signal(self, number):
        if self.pid is not None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def pump(self):
        """Read what there is; returns the messages it said."""
        messages = []
        for name in ("out", "err"):
            descriptor = getattr(self, name)
            while descriptor is not None:
                try:
                    data = os.read(descriptor, 65536)
                except BlockingIOError:
                    break
                if not data:
                    os.close(descriptor)
                    setattr(self, name, None)
                    break
                if name == "err":
                    self.log.write(data)
                else:
                    messages += self._lines(data)
        return messages

    def _lines(self, data):
        *lines, self.said = (self.said + data).split(b"\n")
        self.said = self.said[-LINE_BYTES_MAX:]
        found = []
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if isinstance(value, dict):
                found.append(value)
            else:
                self.log.write(line + b"\n")  # a stray print
        return found

    def gone(self):
        """It has exited: what it said last, and close our ends."""
        messages = self.pump()
        for name in ("life", "out", "err"):
            if getattr(self, name) is not None:
                os.close(getattr(self, name))
                setattr(self, name, None)
        self.pid = None
        return messages


class Supervisor:
    def __init__(self, config):
        self.config = config
        self.state = config["state"]
        logs = os.path.join(self.state, "log")
        self.log = LogFile(os.path.join(logs, "up.log"))
        self.server = Child("server", config["server_argv"], os.path.join(logs, "server.log"))
        self.node = Child("node", config["node_argv"], os.path.join(logs, "node.log")) if config["node_argv"] else None
        self.children = [c for c in (self.server, self.node) if c]
        self.report = config["report_fd"]
        for descriptor in (config["lock_fd"], self.report):  # ours alone: no child may hold them
            if descriptor is not None:
                os.set_inheritable(descriptor, False)
        self.address = {}
        self.announced = False
        self.stop_signals = 0
        self.failed = ""
        self.wake, wake_in = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_in, False)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)

    def _on_stop(self, *_):
        self.stop_signals += 1

    # ---- what it says

    def say(self, text):
        """A line for people: into the log, and to the terminal if there is one."""
        self.log.write(time.strftime("%Y-%m-%d %H:%M:%S ").encode() + text.encode() + b"\n")
        if self.config["foreground"]:
            try:
                os.write(1, text.encode() + b"\n")
            except OSError:
                self.config["foreground"] = False

    def tell(self, **message):
        """A JSON line to the `ingle up --detach` that waits."""
        if self.report is not None:
            try:
                os.write(self.report, json.dumps(message).encode() + b"\n")
            except OSError:
                self.report = None

    def fail(self, text):
        self.failed = self.failed or text
        self.say(f"Error: {text}")
        self.tell(error=text)

    def write_server_json(self):
        said = self.server.ready or self.address  # while it starts again: where it was and will be
        self.address = said
        value = {
            "url": said.get("url"),
            "pid": self.server.pid,
            "supervisor_pid": os.getpid(),
            "version": said.get("version"),
            "node_pid": self.node.pid if self.node else None,
        }
        path = os.path.join(self.state, "server.json")
        try:
            with open(path + ".new", "w") as file:
                json.dump(value, file)
            os.chmod(path + ".new", 0o644)
            os.replace(path + ".new", path)
        except OSError as error:
            self.say(f"server.json cannot be written: {error}")

    # ---- what it does

    def on_message(self, child, message):
        if "error" in message:
            child.error = str(message["error"])
        if "ready" not in message:
            return
        again = child.was_ready
        child.ready, child.was_ready, child.failures = message["ready"], True, 0
        child.wrong_since = None
        self.write_server_json()
        if child is self.server:
            # The same address after a restart, whatever port was free the first time.
            url = child.ready["url"]
            port = url.rpartition(":")[2]
            child.argv = [
                port if before == "--port" else arg for before, arg in zip(["", *child.argv], child.argv, strict=False)
            ]
            if self.node and self.node.pid is None and self.node.start_at is None:
                self.node.argv = [url if arg == "{url}" else arg for arg in self.node.argv]
                self.start(self.node)
        self.say(f"{child.name} {'is back' if again else 'ready'}: {child.ready.get('text', '')}")
        if not self.announced and all(c.ready for c in self.children):
            self.announced = True
            self.tell(ready=True)
            self.report = None
            if self.config["foreground"]:
                self.say("Ready. Stop with Ctrl-C.")

    def start(self, child):
        try:
            child.start()
        except OSError as error:
            self.fail(f"the {child.name} cannot be started: {error}")

    def on_exit(self, child, status):
        for message in child.gone():
            self.on_message(child, message)
        if self.stop_signals or self.failed:
            return
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        child.failures += 1
        now = time.monotonic()
        if code == CONFIG_ERROR_CODE:
            said = child.error or self.tail(child)
            child.wrong_since = now if child.wrong_since is None else child.wrong_since
            if not child.was_ready or now - child.wrong_since > CONFIG_PATIENCE_S:
                self.fail(said)
                return
            how = f"cannot start: {said}"
        if not child.was_ready and child.failures >= FIRST_TRIES:
            self.fail(f"the {child.name} {how} {FIRST_TRIES} times; its log ends with:\n{self.tail(child)}")
            return
        if now - child.started_at >= STEADY_S:
            child.backoff = BACKOFF_S_FIRST
        child.start_at = now + child.backoff
        self.say(f"{child.name} {how}; starting it again in {child.backoff:.1f} s")
        child.backoff = min(BACKOFF_S_MAX, child.backoff * 2)

    def tail(self, child):
        return child.log.tail.decode(errors="replace").strip()

    def turn(self, timeout_s):
        """Wait for something to happen, at most so long, and deal with it."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        for child in self.children:
            for descriptor in child.descriptors():
                poll.register(descriptor, select.POLLIN)
        poll.poll(None if timeout_s is None else max(0, int(timeout_s * 1000) + 1))
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass
        for child in self.children:
            for message in child.pump():
                self.on_message(child, message)
            if child.pid is not None:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self.on_exit(child, status)

    def run(self):
        self.start(self.server)
        while not (self.stop_signals or self.failed):
            now = time.monotonic()
            due = [c.start_at for c in self.children if c.start_at is not None]
            self.turn(min(due) - now if due else None)
            for child in self.children:
                if child.start_at is not None and child.start_at <= time.monotonic() and not self.failed:
                    self.start(child)
        self.stop()
        return 1 if self.failed else 0

    def stop(self):
        """The node first: it ends its containers, and the server hears of it. A second signal kills at once."""
        if not self.failed:
            self.say("Stopping.")
        for child, bound_s in ((self.node, NODE_STOP_S), (self.server, SERVER_STOP_S)):
            if child is None or child.pid is None:
                continue
            child.signal(signal.SIGTERM)
            ends, heard = time.monotonic() + bound_s, max(1, self.stop_signals)
            while child.pid is not None:
                left = ends - time.monotonic()
                if left <= 0 or self.stop_signals > heard:
                    child.signal(signal.SIGKILL)
                    left = 1.0
                self.turn(left)
        try:
            os.unlink(os.path.join(self.state, "server.json"))
        except OSError:
            pass
        if not self.failed:
            self.say("Stopped.")


def open_standard_descriptors():
    """0, 1 and 2 must be something, or a pipe of ours would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


if __name__ == "__main__":
    open_standard_descriptors()
    # argv: --state DIRECTORY (so that others find us in the process table), then the configuration as JSON.
    sys.exit(Supervisor(json.loads(sys.argv[3])).run())
