"""Our orchestrator with built-in models."""

from interop.client import HORIZON, coordinator, three_days
from interop.expecting import expect
from interop.programs import orchestrator


async def check(options):
    """init, sync, tick, predict, and a model that is stopped in the list of models."""
    async with orchestrator(options) as condor:
        condor.write_models(entries({"1": "RUNNING", "2": "RUNNING"}))
        async with coordinator(condor) as client:
            await client.has("1", "2")
            await client.answers("tick", three_days())
            for answer in await client.answers("predict", "BTC", HORIZON, 60):
                expect(len(answer), HORIZON // 60, "the number of densities")
            condor.write_models(entries({"1": "RUNNING", "2": "STOPPED"}))
            await client.has("1")
        async with coordinator(condor) as late:
            expect(sorted(late.models), ["1"], "the models in `init`")


def entries(states):
    return [{"id": model, "builtin": "random-walk", "desired_state": state} for model, state in states.items()]
