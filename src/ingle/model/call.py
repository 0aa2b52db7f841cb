"""Calls and inputs.

A *call* is what `.remote()`, `.spawn()` or `.map()` makes; it has one *input* per set of arguments. An input may
take several *attempts*; it ends with exactly one *outcome*.
"""

# What a call is for.
REMOTE = "remote"  # one input, its client waits
MAP = "map"  # many inputs, its client waits
SPAWN = "spawn"  # inputs on disk before they are acknowledged; results kept
GENERATOR = "generator"  # one input that yields
KINDS = (REMOTE, MAP, SPAWN, GENERATOR)

# How an input ended, or an attempt did.
RETURNED = "returned"  # payload: the pickled value; of a generator: nothing
RAISED = "raised"  # payload: see runner/wire.py `pack_raised`
FAILED = "failed"  # payload: JSON of wire.errors.Failure: time-out, out of memory, cancelled, container would not start …
OUTCOMES = (RETURNED, RAISED, FAILED)

#: Payloads above this go around the call path as blobs.
INLINE_BYTES_MAX = 1 << 20
#: Inputs of one map that may be under way at once.
OUTSTANDING_MAX = 1000
#: Generator items that may be under way before the client asks for more.
YIELDS_AHEAD_MAX = 64
