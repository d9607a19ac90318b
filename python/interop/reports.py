"""report_failure: models that the client does not want any more."""

from interop.client import Status, coordinator
from interop.expecting import expect, expect_within
from interop.programs import orchestrator, write_submission

QUESTION = ("BTC", 3600, 60)
# Until a call that never ends counts as one, in seconds.
SHORT = 2

RAISES = """
class Model:
    tick = print
    def predict(self, *question): raise ValueError("no luck")
"""
SLEEPS = """
import time

class Model:
    tick = print
    def predict(self, *question): time.sleep(600)
"""
ANSWERS = """
class Model:
    tick = print
    def predict(self, *question): return "well"
"""
COMPLETE = ANSWERS + """
    def predict_all(self, *question): return "all"
"""
NO_MODEL = "print('nothing here')"

MODELS = {"raises": RAISES, "sleeps": SLEEPS, "lacks": ANSWERS, "empty": NO_MODEL, "healthy": ANSWERS}


async def check(options):
    """The orchestrator stops what the client reports, says why, and starts it again when it is told to."""
    async with orchestrator(options) as condor:
        for name, main in MODELS.items():
            write_submission(condor.submissions / name, main)
        condor.write_models([{"id": n, "submission_id": n, "desired_state": "RUNNING"} for n in MODELS])
        # the second in a row is one too many
        async with coordinator(condor, max_consecutive_failures=1, max_consecutive_timeouts=1) as client:
            healthy = await client.joined("healthy")
            await is_reported_without_a_class(condor)
            await is_reported_for_failures(condor, client)
            await is_reported_for_timeouts(condor, client)
            await is_reported_for_a_missing_method(condor, client)
            expect(client.models.get("healthy"), healthy, "the runner of a model that nobody reported")
            expect(await client.answer("healthy", "predict", *QUESTION), "well", "its answer")


async def is_reported_without_a_class(condor):
    await stays_stopped(condor, "empty", "BAD_IMPLEMENTATION")
    print("a submission without a model is reported at its set-up")


async def is_reported_for_failures(condor, client):
    before = await client.joined("raises")
    for _ in range(2):
        outcome = await client.ask("raises", "predict", *QUESTION)
        expect(outcome.status, Status.FAILED, "the outcome of a call that raises")
    await client.left("raises")
    await stays_stopped(condor, "raises", "MULTIPLE_FAILED")
    await is_back_after_start(condor, client, before)
    print("a model that raises is reported, stopped, and started again by hand")


async def is_reported_for_timeouts(condor, client):
    before = await client.joined("sleeps")
    for _ in range(2):
        outcome = await client.ask("sleeps", "predict", *QUESTION, timeout=SHORT)
        expect(outcome.status, Status.TIMEOUT, "the outcome of a call that never ends")
    await client.left("sleeps")
    await stays_stopped(condor, "sleeps", "MULTIPLE_TIMEOUT")
    await is_back_after_start(condor, client, before)
    print("a model that never answers is reported, stopped, and started again by hand")


async def is_reported_for_a_missing_method(condor, client):
    before = await client.joined("lacks")
    outcome = await client.ask("lacks", "predict_all", *QUESTION)
    expect(outcome.status, Status.FAILED, "the outcome without such a method")
    await client.left("lacks")
    await stays_stopped(condor, "lacks", "BAD_IMPLEMENTATION")
    expect(await condor.upload("lacks", COMPLETE), 200, "an upload of new code")
    await client.joined("lacks", instead_of=before)
    expect(await client.answer("lacks", "predict_all", *QUESTION), "all", "the answer of new code")
    print("a model that lacks the method is reported at once, and back with new code")


async def stays_stopped(condor, model_id, failure_code):
    model = await condor.becomes(model_id, "RUNNER_FAILED")
    reported = f"reported by a coordinator ({failure_code}: no reason given)"
    why = f"{reported}; it stays stopped until it is changed or started"
    expect(model["statusMessage"], why, f"the reason for the stop of {model_id} in `GET /models`")
    expect_within(await condor.models("list"), why, "`condor models list`")


async def is_back_after_start(condor, client, before):
    await condor.models("start", before.model_id)
    after = await client.joined(before.model_id, instead_of=before)
    expect(after.deployment_id != before.deployment_id, True, "that a start is a new deployment")
    expect((await condor.becomes(before.model_id, "RUNNER_RUNNING"))["statusMessage"], "", "the reason after a start")
