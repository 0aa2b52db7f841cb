"""Who may talk to whom: equal wire versions only, checked before the first frame."""

#: Raised with every change of a message that an older peer would misread.
WIRE_VERSION = 1
#: HTTP header in which client and node say theirs.
VERSION_HEADER = "Ingle-Wire"
