"""Runs with `-m shop.main`, or as a file inside the package."""

import ingle
from shop.prices import price

app = ingle.App("shop")


@app.function()
def ask(name):
    return price(name), __name__


@app.local_entrypoint()
def main():
    print("price", ask.remote("apple"))
