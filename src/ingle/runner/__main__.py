"""The first code of ours in a container: makes our library importable, last of all, and begins.

Run as a file, not with `-m`: runpy alone costs 3 ms.
"""

import sys

if __name__ == "__main__":
    _own = __file__.rpartition("/")[0]
    _library = _own.rpartition("/")[0].rpartition("/")[0]
    if sys.path and sys.path[0].endswith("/ingle/runner"):  # the interpreter has resolved symbolic links in it
        del sys.path[0]
    # First while the runner itself is imported: fewer directories are searched.
    _listed = _library in sys.path
    sys.path.insert(0, _library)
    from ingle.runner import start

    del sys.path[0]
    if not _listed:
        sys.path.append(_library)
    start.main()
