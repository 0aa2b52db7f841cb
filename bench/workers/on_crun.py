"""Measures bare crun: one container of the same root file system, no server, no network, no limits. Started in a mount
namespace of its own, in which it unmounts the `unified` hierarchy of a hybrid cgroup host, as crun refuses those."""

import json
import os
import subprocess
import tempfile
import time

_bundle = []


def open_app(layers, crun, python):
    """Layers: top first."""
    unified = "/sys/fs/cgroup/unified"
    if os.path.ismount(unified):
        subprocess.run(["umount", unified], check=True)
    folder = tempfile.mkdtemp(prefix="ingle-bench-crun-")
    for name in ("rootfs", "upper", "work", "state"):
        os.mkdir(os.path.join(folder, name))
    options = f"lowerdir={':'.join(layers)},upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/rootfs"], check=True)
    subprocess.run([crun, "spec"], cwd=folder, check=True)
    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=[python, "-c", "pass"], cwd="/")
    config["root"] = {"path": f"{folder}/rootfs", "readonly": False}
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]
    config["linux"].pop("resources", None)
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file)
    _bundle.append((crun, folder))


def close_app():
    _, folder = _bundle.pop()
    subprocess.run(["umount", f"{folder}/rootfs"], check=False)
    subprocess.run(["rm", "-rf", folder], check=False)


def cold(number):
    """Milliseconds of `crun run … python3 -c pass`, from start to end."""
    crun, folder = _bundle[0]
    argv = [crun, "--root", f"{folder}/state", "--cgroup-manager=disabled", "run", "-b", folder, f"bench-{number}"]
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    from serve import serve

    serve({f.__name__: f for f in (open_app, close_app, cold)})
