"""The user's side of the storm: many calls, mixed, and a book about every answer. Prints one line of JSON at its end."""

import json
import sys
import threading
import time
from collections import Counter

import ingle

app = ingle.App("storm")


@app.function(cpu=0.05, memory=64, max_containers=6)
def work(x):
    time.sleep(0.2 if x % 100 == 0 else 0.015)  # or all would be over before much can fall
    return x * 3 + 1


def mapped(first, count, book, failures):
    """One map; every result in its place, once."""
    try:
        for index, value in enumerate(work.map(range(first, first + count))):
            if value != (first + index) * 3 + 1:
                failures.append(f"input {first + index} got {value}")
            book[first + index] += 1
    except BaseException as error:
        failures.append(f"map from {first}: {error!r}")


def spawned(first, count, book, failures):
    """Calls that are on disk; each result is asked for twice and must be the same."""
    try:
        calls = [(x, work.spawn(x)) for x in range(first, first + count)]
        for x, call in calls:
            value = call.get(timeout=300)
            if value != x * 3 + 1:
                failures.append(f"spawned {x} got {value}")
            book[x] += 1
    except BaseException as error:
        failures.append(f"spawned from {first}: {error!r}")


def main(total):
    """Four maps and four rows of spawned calls at once: `total` calls in all."""
    book: Counter = Counter()
    failures: list = []
    part = total // 8
    with app.run():
        work.remote(0)
        print("storm begins", flush=True)
        start = time.monotonic()
        threads = [
            threading.Thread(target=mapped if i % 2 else spawned, args=(i * part, part, book, failures)) for i in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - start
    print(json.dumps({
        "took_s": took, "delivered": sum(book.values()), "twice": [x for x, n in book.items() if n > 1][:10],
        "missing": [x for x in range(part * 8) if not book[x]][:10], "failures": failures[:10],
    }), flush=True)  # fmt: skip
    return 0 if not failures and len(book) == part * 8 and set(book.values()) == {1} else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
