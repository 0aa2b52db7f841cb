"""A node: a machine that runs containers."""

from dataclasses import dataclass

from ingle.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Node:
    id: str
    name: str  #: host name
    capacity: Resources
    boot_id: str  #: new at every start of the node's process: what ran before is gone
