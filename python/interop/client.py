"""The client of the field, and what coordinators ask with it."""

import asyncio
import contextlib
import math

from model_runner_client.grpc.generated.commons_pb2 import Argument, Variant
from model_runner_client.model_concurrent_runners.dynamic_subclass_model_concurrent_runner import (
    DynamicSubclassModelConcurrentRunner,
)
from model_runner_client.model_concurrent_runners.model_concurrent_runner import ModelPredictResult
from model_runner_client.model_runners import DynamicSubclassModelRunner
from model_runner_client.utils.datatype_transformer import detect_data_type, encode_data

from interop.expecting import PATIENCE, expect, until

BASE_CLASS = "crunch_synth.tracker.TrackerBase"
Status = ModelPredictResult.Status

START = 1_747_699_200
HORIZON, STEPS = 3600, [60, 300, 7200]


# ---------------------------------------------------------------------------------------------------------------------
# The game
# ---------------------------------------------------------------------------------------------------------------------


def arguments(*values):
    """Positional arguments as coordinators make them."""
    variants = (Variant(type=detect_data_type(v), value=encode_data(detect_data_type(v), v)) for v in values)
    return [Argument(position=position, data=data) for position, data in enumerate(variants, 1)], []


def three_days():
    minutes = range(3 * 24 * 60)
    return {"BTC": [[START + 60 * m, 100_000 + 50 * math.sin(m) + 20 * math.sin(7.3 * m)] for m in minutes]}


async def plays(runner):
    """A tick and a question of today's game, rightly answered."""
    expect(await called(runner, "tick", three_days()), None, "the answer to a tick")
    answer = await called(runner, "predict_all", "BTC", HORIZON, STEPS)
    steps = [step for step in STEPS if step <= HORIZON]
    expect(sorted(answer, key=int), [str(step) for step in steps], "the steps that are answered")
    for step in steps:
        expect(len(answer[str(step)]), HORIZON // step, f"the number of densities in steps of {step} s")


# ---------------------------------------------------------------------------------------------------------------------
# One model, whose address is known
# ---------------------------------------------------------------------------------------------------------------------


def runner_at(address, **settings):
    """The client of one model, not yet connected. A failed connection is tried again without a pause."""
    ip, _, port = address.rpartition(":")
    known = {"deployment_id": "d", "model_id": "m", "model_name": "n", "infos": {}, "retry_backoff_factor": 0}
    return DynamicSubclassModelRunner(BASE_CLASS, ip=ip, port=int(port), **{**known, **settings})


@contextlib.asynccontextmanager
async def set_up(runner):
    try:
        expect(await runner.init(), (True, None), "the set-up")
        yield runner
    finally:
        await runner.close()


async def called(runner, method, *values):
    answer, error = await asyncio.wait_for(runner.call(method, arguments(*values)), PATIENCE)
    expect(error, None, f"the error of {method}")
    return answer


# ---------------------------------------------------------------------------------------------------------------------
# All models of an orchestrator
# ---------------------------------------------------------------------------------------------------------------------


class Coordinator:
    """Follows an orchestrator and asks its models."""

    def __init__(self, port, **settings):
        settings = {"timeout": PATIENCE, **settings}
        place = {"crunch_id": "condor", "host": "127.0.0.1", "port": port}
        self.runner = DynamicSubclassModelConcurrentRunner(base_classname=BASE_CLASS, **place, **settings)

    @property
    def models(self):
        """The models that can be asked, by id; it changes as the orchestrator tells."""
        return self.runner.model_cluster.models_run

    async def has(self, *model_ids):
        """Waits until these can be asked and no others."""
        await until(lambda: sorted(self.models) == sorted(model_ids), f"the client has the models {model_ids}")

    async def joined(self, model_id, instead_of=None):
        """Waits for the model's runner, in the place of an earlier one if there was one."""
        replaced = "" if instead_of is None else " anew"
        return await until(
            lambda: self.models.get(model_id) not in (None, instead_of) and self.models[model_id],
            f"the client has the model {model_id}{replaced}",
        )

    async def left(self, model_id):
        await until(lambda: model_id not in self.models, f"the client has the model {model_id} no more")

    async def ask(self, model_id, method, *values, timeout=None):
        """The outcome of one model's call."""
        model = await self.joined(model_id)
        results = await self.runner.call(method, arguments(*values), timeout=timeout, model_runs=[model])
        return results[model]

    async def answer(self, model_id, method, *values):
        outcome = await self.ask(model_id, method, *values)
        expect((outcome.status, outcome.detail), (Status.SUCCESS, None), f"the outcome of {method} of {model_id}")
        return outcome.result

    async def answers(self, method, *values):
        """What all models answer, each with success."""
        outcomes = list((await self.runner.call(method, arguments(*values))).values())
        statuses = [outcome.status for outcome in outcomes]
        expect(statuses, [Status.SUCCESS] * len(self.models), f"the outcomes of {method}")
        return [outcome.result for outcome in outcomes]


@contextlib.asynccontextmanager
async def coordinator(orchestrator, **settings):
    """Connected to a running orchestrator; `settings` are those of the client."""
    client = Coordinator(orchestrator.port, **settings)
    await client.runner.init()
    following = asyncio.create_task(client.runner.sync())
    try:
        yield client
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await client.runner.model_cluster.ws_client.disconnect()
        for model in list(client.models.values()):
            await model.close()
