#!/usr/bin/env python3
"""Writes random walks of one-minute closes, with an hour missing in the second asset, as `condor replay` reads them."""

import random
import sys
from datetime import datetime
from pathlib import Path

HOURS = 30
GAP = range(10 * 60, 11 * 60)


def main(folder, start, hours=HOURS):
    start = int(datetime.fromisoformat(start).timestamp())
    for number, (asset, price) in enumerate([("BTC", 100_000.0), ("ETH", 2_500.0)]):
        source = random.Random(number)
        with open(Path(folder) / f"{asset}-1m.csv", "w") as file:
            file.write("timestamp,price\n")
            for minute in range(hours * 60):
                price *= 1 + source.gauss(0, 5e-4)
                if asset == "BTC" or minute not in GAP:
                    file.write(f"{start + 60 * minute},{price:.2f}\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: random_prices.py FOLDER START, such as 2025-05-20T00:00:00+00:00")
    main(*sys.argv[1:])
