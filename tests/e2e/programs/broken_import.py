"""A module that cannot be imported in containers."""

import ingle

app = ingle.App("broken-import")

if not ingle.is_local():
    import surely_not_installed_anywhere  # noqa: F401


@app.function()
def work():
    return 1


@app.local_entrypoint()
def main():
    work.remote()
