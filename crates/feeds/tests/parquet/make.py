"""Writes the files of this folder with pyarrow, as users do: `pip install pyarrow && python3 make.py`."""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
SECONDS = [60, 120, 180, 360]
PRICES = [1.0, 2.5, 3.0, 4.25]


def write(name, timestamps, prices=PRICES, **options):
    table = pa.table({"timestamp": timestamps, "volume": pa.array([7] * len(prices)), "price": prices})
    pq.write_table(table, HERE / f"{name}.parquet", **options)


def instants(unit):
    factor = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    return pa.array([second * factor for second in SECONDS], pa.timestamp(unit, tz="UTC"))


write("BTC-snappy-nanos", instants("ns"), version="2.6")
write("ETH-zstd-millis", instants("ms"), compression="zstd", row_group_size=2)
write("SOL-plain-seconds", pa.array(SECONDS), pa.array(PRICES, pa.float32()), compression="none")
write("XAU-without-a-price", instants("us"), pa.array([1.0, None, 3.0, 4.25]))
write("XRP-dates", pa.array(["1970-01-01"] * 4))
