"""Submissions that our orchestrator runs: uploaded, changed, stopped, started, and started again after a crash."""

from interop.client import Status, coordinator
from interop.expecting import expect, expect_within
from interop.programs import orchestrator, submission

QUESTION = ("BTC", 3600, 60)
CRASH = ("CRASH", 3600, 60)


def code(answer):
    """A model that always answers this, or dies."""
    return f"""
import os

class Model:
    def tick(self, prices): pass
    def predict(self, asset, horizon, step):
        if asset == "CRASH": os._exit(3)
        print("asked for", asset)
        return {answer!r}
"""


async def check(options):
    """What becomes of a submission on the orchestrator's side is what the client sees."""
    async with orchestrator(options) as condor, coordinator(condor) as client:
        model_id = await is_added(condor, client)
        for changes in (is_changed, is_stopped_and_started, is_started_again_after_a_crash):
            await changes(condor, client, model_id)


async def is_added(condor, client):
    with submission(code("one")) as folder:
        model_id = (await condor.models("add", folder, "--name", "light")).strip()
    model = await client.joined(model_id)
    expect(model.model_name, "light", "the name of an uploaded model")
    expect(await client.answer(model_id, "predict", *QUESTION), "one", "the answer of an uploaded model")
    expect_within(await condor.models("list"), model_id, "`condor models list`")
    logs = await condor.models("logs", model_id, "--from-start")
    expect_within(logs, "asked for BTC", "`condor models logs`")
    print("a submission is uploaded: the client has it")
    return model_id


async def is_changed(condor, client, model_id):
    before = client.models[model_id]
    refusal = await condor.upload(model_id, code("stolen"), key="not the key, but as long")
    expect(refusal, 401, "an upload with a wrong key")
    expect(await condor.upload(model_id, code("two")), 200, "an upload of new code")
    after = await client.joined(model_id, instead_of=before)
    expect(after.deployment_id != before.deployment_id, True, "that new code is a new deployment")
    expect(await client.answer(model_id, "predict", *QUESTION), "two", "the answer of new code")
    expect((await condor.status(model_id))["deployment_id"], after.deployment_id, "the deployment in `GET /models`")
    print("its code is changed: the client has the new deployment")


async def is_stopped_and_started(condor, client, model_id):
    before = client.models[model_id]
    await condor.models("stop", model_id)
    await client.left(model_id)
    await condor.becomes(model_id, "RUNNER_STOPPED")
    await condor.models("start", model_id)
    after = await client.joined(model_id)
    expect(after.deployment_id != before.deployment_id, True, "that a start is a new deployment")
    expect(await client.answer(model_id, "predict", *QUESTION), "two", "the answer after a stop and a start")
    print("it is stopped and started: the client drops it and has it again")


async def is_started_again_after_a_crash(condor, client, model_id):
    before = client.models[model_id]
    outcome = await client.ask(model_id, "predict", *CRASH)
    expect(outcome.status, Status.FAILED, "the outcome of a call in which the model dies")
    after = await client.joined(model_id, instead_of=before)
    expect(after.deployment_id, before.deployment_id, "the deployment after a crash")
    expect(await client.answer(model_id, "predict", *QUESTION), "two", "the answer after a crash")
    logs = await condor.models("logs", model_id, "--from-start")
    expect_within(logs, "ended with exit status 3", "`condor models logs` after a crash")
    print("it crashes: the client has it again, as the same deployment")
