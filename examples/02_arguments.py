"""Options of the command from the signature: `ingle run examples/02_arguments.py --words "to be or not" --no-sort`."""

from collections import Counter
from typing import Literal

import ingle

app = ingle.App("arguments")


@app.function()
def count(text: str, case: str) -> dict[str, int]:
    return dict(Counter(getattr(text, case)().split()))


@app.local_entrypoint()
def main(words: str = "to be or not to be", case: Literal["lower", "upper"] = "lower", sort: bool = True):
    """Counts words, in a container."""
    counts = count.remote(words, case)
    for word, times in sorted(counts.items(), key=lambda pair: -pair[1]) if sort else counts.items():
        print(f"{times:3}  {word}")
