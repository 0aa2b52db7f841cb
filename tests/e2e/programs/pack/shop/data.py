"""What the prices are made of."""

PRICES = {"apple": 3}
