#!/usr/bin/env python3
"""What calling a fleet of models costs with the Python client of the field, `model-runner-client`, unchanged.

Does in the same phases what `condor probe` does, and prints the same JSON lines. Its answers are decoded, as the client does
it, and not checked.

    bench_fanout.py --orchestrator ws://127.0.0.1:9091/condor --rounds 5
"""

import argparse
import asyncio
import importlib.metadata
import json
import logging
import math
import pathlib
import platform
import resource
import statistics
import sys
import time
import urllib.parse

from model_runner_client.grpc.generated.commons_pb2 import Argument, Variant
from model_runner_client.model_concurrent_runners.dynamic_subclass_model_concurrent_runner import (
    DynamicSubclassModelConcurrentRunner,
)
from model_runner_client.model_concurrent_runners.model_concurrent_runner import ModelPredictResult
from model_runner_client.utils.datatype_transformer import detect_data_type, encode_data

BASE_CLASS = "crunch_synth.tracker.TrackerBase"
ASSET, HORIZON, STEP = "BTC", 86_400, 300
START = 1_747_699_200
HISTORY_BYTES = 1_000_000
SUCCESS, TIMEOUT = ModelPredictResult.Status.SUCCESS, ModelPredictResult.Status.TIMEOUT


# ---------------------------------------------------------------------------------------------------------------------
# What is sent
# ---------------------------------------------------------------------------------------------------------------------


def arguments(*values):
    """Positional arguments, encoded once for all models."""
    variants = (Variant(type=detect_data_type(v), value=encode_data(detect_data_type(v), v)) for v in values)
    return [Argument(position=position, data=data) for position, data in enumerate(variants, 1)], []


def prices(minutes):
    return {ASSET: [[START + 60 * m, round(60_000 + 5_000 * math.sin(m / 97), 2)] for m in range(minutes)]}


def history():
    """As many minutes as make the size, in JSON as Python writes it."""
    entry_bytes = len(", [1747699200, 60000.12]")
    return prices(HISTORY_BYTES // entry_bytes)


# ---------------------------------------------------------------------------------------------------------------------
# What is measured
# ---------------------------------------------------------------------------------------------------------------------


class Meter:
    """Processor time and peak memory of this process from now on."""

    def __init__(self):
        # Where the kernel cannot, the peak is that since the program's start.
        try:
            pathlib.Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
        self.cpu_before = cpu()

    def cpu(self):
        return cpu() - self.cpu_before

    @staticmethod
    def peak_mb():
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def cpu():
    """Of all threads, in microseconds' precision, which os.times has not."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Phase:
    """One line: rounds, each of which calls every model at once."""

    def __init__(self, name, models):
        self.name, self.models = name, models
        self.walls, self.ok, self.timeout = [], 0, 0
        self.meter = Meter()

    async def round(self, calling):
        """Returns nothing: what was answered is dropped before the next round."""
        start = time.perf_counter()
        results = await calling
        self.walls.append(time.perf_counter() - start)
        statuses = [result.status for result in results.values()]
        self.ok += statuses.count(SUCCESS)
        self.timeout += statuses.count(TIMEOUT)

    def print(self):
        calls = self.models * len(self.walls)
        line = {
            "phase": self.name,
            "models": self.models,
            "rounds": len(self.walls),
            "ok": self.ok,
            "failed": calls - self.ok - self.timeout,
            "timeout": self.timeout,
            "wall_median_s": statistics.median(self.walls),
            "wall_max_s": max(self.walls),
            "cpu_per_call_us": self.meter.cpu() / calls * 1e6,
            "rss_mb": self.meter.peak_mb(),
        }
        print(json.dumps(line), flush=True)


async def connect(options):
    """The client connected to every model that is announced; each of them is set up."""
    address = urllib.parse.urlsplit(options.orchestrator)
    client = DynamicSubclassModelConcurrentRunner(
        timeout=options.timeout,
        crunch_id=address.path.strip("/"),
        host=address.hostname,
        port=address.port,
        base_classname=BASE_CLASS,
        report_failure=False,
    )
    phase = Phase("connect", options.models)
    start = time.perf_counter()
    await client.init()
    phase.walls.append(time.perf_counter() - start)
    phase.ok = len(client.model_cluster.models_run)
    phase.print()
    return client


async def measure(options):
    client = await connect(options)
    phases = [
        ("tick_minute", 1, "tick", arguments(prices(1))),
        ("predict", options.rounds, "predict", arguments(ASSET, HORIZON, STEP)),
        ("tick_history", 1, "tick", arguments(history())),
    ]
    for name, rounds, method, given in phases:
        phase = Phase(name, options.models)
        for _ in range(rounds):
            await phase.round(client.call(method, given))
        phase.print()


def raise_open_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def versions():
    packages = ("model-runner-client", "grpcio", "protobuf")
    told = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    return ", ".join([*told, f"Python {platform.python_version()}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", action="store_true", help="print what is measured, and end")
    parser.add_argument("--orchestrator", help="ws://HOST:PORT/CRUNCH")
    parser.add_argument("--models", type=int, default=1000, help="how many the orchestrator runs")
    parser.add_argument("--rounds", type=int, default=5, help="how many questions each model is asked")
    parser.add_argument("--timeout", type=int, default=60, help="seconds that a call may take")
    options = parser.parse_args()
    if options.versions:
        print(versions())
        return 0
    if not options.orchestrator:
        parser.error("--orchestrator is missing")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    raise_open_files()
    asyncio.run(measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
