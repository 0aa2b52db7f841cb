"""Makes the platform build what every later run needs: the image, and what containers get of ours."""

import ingle

app = ingle.App("warm-up")


@app.function()
def ready():
    return True


@app.local_entrypoint()
def main():
    assert ready.remote()
