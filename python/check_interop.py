#!/usr/bin/env python3
"""Interoperation with the Python of the field: the client `model-runner-client`, unchanged, against this program.

The client follows the orchestrator and calls its models; and it sets up, ticks and asks Python submissions behind the
model host: the examples of this repository and the trackers that ship inside the package crunch-synth.

    check_interop.py --condor target/debug/condor --environments target/submission-environments

Exit status: 0 all agree, 1 something differs.
"""

import argparse
import asyncio
import contextlib
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import pandas
from model_runner_client.grpc.generated.commons_pb2 import Argument, Variant, VariantType
from model_runner_client.model_concurrent_runners.dynamic_subclass_model_concurrent_runner import (
    DynamicSubclassModelConcurrentRunner,
)
from model_runner_client.model_concurrent_runners.model_concurrent_runner import ModelPredictResult
from model_runner_client.model_runners import DynamicSubclassModelRunner
from model_runner_client.utils.datatype_transformer import detect_data_type, encode_data

BASE_CLASS = "crunch_synth.tracker.TrackerBase"
EXAMPLES = pathlib.Path(__file__).resolve().parent / "examples"
PATIENCE = 120
START = 1_747_699_200
HORIZON, STEPS = 3600, [60, 300, 7200]

# The trackers that ship inside the package, as submissions of one line each.
SHIPPED = {
    "GaussianStepTracker": ("from crunch_synth.examples.exampletracker import GaussianStepTracker", ""),
    "MyTracker with SubTracker": ("from crunch_synth.examples.subtracker_example import MyTracker", "scikit-learn==1.7.2"),
}

VALUES = """
import numpy, pandas

class Values:
    tick = predict = print
    def echo(self, value): return value
    def numbers(self):
        return {numpy.int64(60): numpy.arange(3), "scalar": numpy.float32(0.5), "truth": numpy.bool_(True)}
    def scalar(self): return numpy.float64(0.25)
    def whole(self): return numpy.int64(-7)
    def kind(self, value): return type(value).__name__
"""


class Failed(Exception):
    """The two sides do not agree."""


def expect(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: got {got!r} instead of {wanted!r}")


# ---------------------------------------------------------------------------------------------------------------------
# What is sent
# ---------------------------------------------------------------------------------------------------------------------


def arguments(*values):
    """Positional arguments as coordinators make them."""
    variants = (Variant(type=detect_data_type(v), value=encode_data(detect_data_type(v), v)) for v in values)
    return [Argument(position=position, data=data) for position, data in enumerate(variants, 1)], []


def three_days():
    minutes = range(3 * 24 * 60)
    return {"BTC": [[START + 60 * m, 100_000 + 50 * math.sin(m) + 20 * math.sin(7.3 * m)] for m in minutes]}


def check_densities(answer, steps):
    """An object from step to one density for each step of the horizon."""
    expect(sorted(answer, key=int), [str(step) for step in steps], "the steps that are answered")
    for step in steps:
        expect(len(answer[str(step)]), HORIZON // step, f"the number of densities in steps of {step} s")


# ---------------------------------------------------------------------------------------------------------------------
# Programs
# ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(*command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.asynccontextmanager
async def hosted(options, folder):
    """The client's runner of a submission behind a model host, set up."""
    command = [options.condor, "model-host", "--submission", folder, "--environments", options.environments]
    with running(*map(str, command), "--base-class", BASE_CLASS) as process:
        line = process.stdout.readline().strip()
        if not line.startswith("listening on "):
            raise Failed(f"the model host of {folder} says {line!r}")
        ip, _, port = line.removeprefix("listening on ").rpartition(":")
        names = {"deployment_id": "d", "model_id": "m", "model_name": "n", "infos": {}}
        runner = DynamicSubclassModelRunner(BASE_CLASS, ip=ip, port=int(port), **names)
        expect(await runner.init(), (True, None), "the set-up")
        try:
            yield runner
        finally:
            await runner.close()


async def called(runner, method, *values):
    answer, error = await asyncio.wait_for(runner.call(method, arguments(*values)), PATIENCE)
    expect(error, None, f"the error of {method}")
    return answer


# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------


async def plays_the_game(options, folder):
    async with hosted(options, folder) as runner:
        expect(await called(runner, "tick", three_days()), None, "the answer to a tick")
        answer = await called(runner, "predict_all", "BTC", HORIZON, STEPS)
        check_densities(answer, [step for step in STEPS if step <= HORIZON])


async def check_examples(options):
    for folder in sorted(path for path in EXAMPLES.iterdir() if path.is_dir()):
        await plays_the_game(options, folder)
        print(f"example {folder.name}: answers")


async def check_shipped_trackers(options):
    pinned = (EXAMPLES / "crunch_synth_tracker" / "requirements.txt").read_text()
    for name, (main, more) in SHIPPED.items():
        with submission(main, pinned + more) as folder:
            await plays_the_game(options, folder)
        print(f"crunch-synth's {name}: answers")


async def check_values(options):
    packages = "\n".join(f"{line}" for line in ("numpy==2.3.4", "pandas==2.3.3", "pyarrow==21.0.0"))
    table = pandas.DataFrame({"price": [1.5, float("nan")], "asset": ["BTC", "é"]})
    with submission(VALUES, packages) as folder:
        async with hosted(options, folder) as runner:
            for value in (None, 0.5, -(2**63), "é", {"a": [1, None, float("inf")]}):
                expect(await called(runner, "echo", value), value, "an echo")
            expect(await called(runner, "kind", table), "DataFrame", "what a table arrives as")
            pandas.testing.assert_frame_equal(await called(runner, "echo", table), table)
            numbers = {"60": [0, 1, 2], "scalar": 0.5, "truth": True}
            expect(await called(runner, "numbers"), numbers, "numpy's values")
            expect((await called(runner, "scalar"), await called(runner, "whole")), (0.25, -7), "numpy's scalars")
    print("values: the same on both sides")


@contextlib.contextmanager
def submission(main, requirements):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "main.py").write_text(main)
        (folder / "requirements.txt").write_text(requirements)
        yield folder


async def check_orchestrator(options):
    """init, sync, tick, predict, and a model that is stopped."""
    with tempfile.TemporaryDirectory() as name:
        models = pathlib.Path(name) / "models.yml"
        write_models(models, {"1": "RUNNING", "2": "RUNNING"})
        command = [options.condor, "orchestrator", "--models", models, "--listen", f"127.0.0.1:{options.port}"]
        with running(*map(str, command)):
            runner = DynamicSubclassModelConcurrentRunner(
                timeout=PATIENCE, crunch_id="condor", host="127.0.0.1", port=options.port, base_classname=BASE_CLASS
            )
            await retried(runner.init)
            following = asyncio.create_task(runner.sync())
            cluster = runner.model_cluster.models_run
            await until(lambda: sorted(cluster) == ["1", "2"], "both models are there")
            await all_succeed(runner.call("tick", arguments(three_days())), 2)
            for answer in await all_succeed(runner.call("predict", arguments("BTC", HORIZON, 60)), 2):
                expect(len(answer), HORIZON // 60, "the number of densities")
            write_models(models, {"1": "RUNNING", "2": "STOPPED"})
            await until(lambda: sorted(cluster) == ["1"], "the stopped model is gone")
            following.cancel()
    print("orchestrator: init, sync, tick, predict, a stop")


def write_models(path, states):
    entries = [
        {"id": model, "builtin": "random-walk", "crunch_id": "condor", "desired_state": state}
        for model, state in states.items()
    ]
    # JSON is YAML; a rename, so that nobody reads a half
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"models": entries}))
    draft.rename(path)


async def all_succeed(calling, count):
    results = list((await calling).values())
    expect([result.status for result in results], [ModelPredictResult.Status.SUCCESS] * count, "the outcomes")
    return [result.result for result in results]


async def retried(connect):
    """While the orchestrator is starting."""
    for _ in range(100):
        try:
            return await connect()
        except OSError:
            await asyncio.sleep(0.1)
    raise Failed("the orchestrator cannot be reached")


async def until(holds, what):
    for _ in range(PATIENCE * 10):
        if holds():
            return
        await asyncio.sleep(0.1)
    raise Failed(f"it did not come about that {what}")


async def check_all(options):
    await check_orchestrator(options)
    await check_examples(options)
    await check_shipped_trackers(options)
    await check_values(options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--condor", required=True, help="the program")
    parser.add_argument("--environments", required=True, help="where the submissions' environments are kept")
    parser.add_argument("--port", type=int, default=19091, help="a free port for the orchestrator")
    try:
        asyncio.run(check_all(parser.parse_args()))
    except Failed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
