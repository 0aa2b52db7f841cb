"""The mark by which one node's things on a machine (cgroups, interfaces, firewall table) are told from another's."""

import hashlib
from pathlib import Path


def of(state: Path) -> str:
    """Six hexadecimal digits that stand for a state directory; the same at every start."""
    return hashlib.sha256(str(Path(state).resolve()).encode()).hexdigest()[:6]
