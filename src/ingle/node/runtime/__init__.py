"""What runs containers: an OCI runtime, or a fake."""

from pathlib import Path

from ingle.exceptions import SetupError
from ingle.node.kernel import Kernel
from ingle.node.runtime.base import Runtime
from ingle.node.runtime.oci import OciRuntime, fault

#: The first that works is taken: crun starts a container in a third of runc's time.
PREFERRED = ("crun", "runc")


def choose(root: Path, kernel: Kernel | None = None) -> Runtime:
    """The runtime that this machine's node uses; its state goes below `root`.

    Raises:
        SetupError: neither runs a container here.
    """
    faults = []
    for binary in PREFERRED:
        reason = fault(binary)
        if not reason:
            return OciRuntime(binary, root / binary, kernel)
        faults.append(f"{binary}: {reason}")
    raise SetupError(f"no container runtime works here ({'; '.join(faults)}); run `ingle setup`, then `ingle doctor`")
