"""Python submissions behind our model host, started by hand."""

import pathlib

import pandas

from interop.client import called, plays, runner_at, set_up
from interop.expecting import expect
from interop.programs import model_host, submission

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"

# The trackers that ship inside the package, as submissions of one line each.
SHIPPED = {
    "GaussianStepTracker": ("from crunch_synth.examples.exampletracker import GaussianStepTracker", ""),
    "MyTracker with SubTracker": (
        "from crunch_synth.examples.subtracker_example import MyTracker",
        "scikit-learn==1.7.2",
    ),
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
VALUES_NEED = "numpy==2.3.4\npandas==2.3.3\npyarrow==21.0.0"


async def plays_the_game(options, folder):
    async with model_host(options, folder) as address, set_up(runner_at(address)) as runner:
        await plays(runner)


async def check_examples(options):
    """Each of our examples plays the game."""
    for folder in sorted(path for path in EXAMPLES.iterdir() if path.is_dir()):
        await plays_the_game(options, folder)
        print(f"example {folder.name}: answers")


async def check_shipped_trackers(options):
    """The trackers inside crunch-synth play the game."""
    pinned = (EXAMPLES / "crunch_synth_tracker" / "requirements.txt").read_text()
    for name, (main, more) in SHIPPED.items():
        with submission(main, pinned + more) as folder:
            await plays_the_game(options, folder)
        print(f"crunch-synth's {name}: answers")


async def check_values(options):
    """Values are the same on both sides."""
    table = pandas.DataFrame({"price": [1.5, float("nan")], "asset": ["BTC", "é"]})
    with submission(VALUES, VALUES_NEED) as folder:
        async with model_host(options, folder) as address, set_up(runner_at(address)) as runner:
            for value in (None, 0.5, -(2**63), "é", {"a": [1, None, float("inf")]}):
                expect(await called(runner, "echo", value), value, "an echo")
            expect(await called(runner, "kind", table), "DataFrame", "what a table arrives as")
            pandas.testing.assert_frame_equal(await called(runner, "echo", table), table)
            numbers = {"60": [0, 1, 2], "scalar": 0.5, "truth": True}
            expect(await called(runner, "numbers"), numbers, "numpy's values")
            expect((await called(runner, "scalar"), await called(runner, "whole")), (0.25, -7), "numpy's scalars")
