#!/usr/bin/env python3
"""The other side of `cargo xtask bench scoring`: public Python packages on the inputs that our own benchmark wrote.

    bench_scoring.py DIR --verify    compares every number of theirs with ours; exit status 1 when one differs
    bench_scoring.py DIR             reads the name of a case per line of standard input, measures it, and answers with
                                     {"case": ..., "peer": ..., "ns": the median time of an item in nanoseconds}

DIR is what the benchmark's --write-inputs made: the inputs, and in scores.json our numbers for them.
"""

import argparse
import functools
import gc
import importlib.metadata
import itertools
import json
import pathlib
import statistics
import sys
import time

import numpy as np
import scoringrules
from crunch_synth import TrackerBase, TrackerEvaluator
from crunch_synth.constants import CRPS_BOUNDS
from crunch_synth.tracker_evaluator import crps_integral
from densitypdf import density_pdf

# A case is measured for this long, and at least this often.
MEASURED_NS = 300_000_000
FEWEST_SAMPLES = 5

# How the answers were asked for.
HORIZON, STEP = 86_400, 300
# Any instant does.
ASKED_AT = 1_750_000_000

# How many normals at once the table speaks of.
NORMALS = 1_000_000

# How far numbers may be apart, relatively.
EXACT, GRID, SUM = 1e-12, 1e-9, 1e-6


class Case:
    """Something to measure: `run` does `items` of it. `numbers` gives what must be equal to ours of the name `ours`."""

    def __init__(self, peer, run, items, *, ours, tolerance, numbers=None):
        self.peer = peer
        self.run = run
        self.items = items
        self.ours = ours
        self.tolerance = tolerance
        self.numbers = numbers or run

    def sample(self):
        """How long one run takes, in nanoseconds."""
        return elapsed(self.run)[0]


class EvaluatorCase(Case):
    """A whole answer through the evaluator. The arrival of prices is not timed."""

    def __init__(self, text, prices, asset):
        peer = f"{package('crunch-synth')} TrackerEvaluator"
        super().__init__(peer, None, 1, ours="answer/crps_grid", tolerance=SUM, numbers=self.mean_score)
        self.text = text
        self.asset = asset
        instants = range(ASKED_AT, ASKED_AT + HORIZON + 1, STEP)
        self.ticks = list(zip(instants, prices, strict=True))

    def sample(self):
        return self.evaluate()[0]

    def mean_score(self):
        """Theirs is a sum over the increments in units of the half width, ours a mean in the unit of the price."""
        return self.evaluate()[1] * CRPS_BOUNDS["t"][self.asset] / (HORIZON // STEP)

    def evaluate(self):
        """How long it takes, and the score."""
        evaluator = TrackerEvaluator(AnsweringTracker(self.text))
        evaluator.tick({self.asset: self.ticks[:1]})
        asking, _ = elapsed(lambda: evaluator.enqueue_predictions(self.asset, HORIZON, [STEP]))
        evaluator.tick({self.asset: self.ticks[1:]})
        scoring, _ = elapsed(lambda: evaluator.evaluate_quarantine(self.asset))
        return asking + scoring, evaluator.overall_score_asset(self.asset)


class AnsweringTracker(TrackerBase):
    """A model whose answer is there, as text."""

    def __init__(self, text):
        super().__init__(async_mode=False)
        self.text = text

    def predict(self, asset, horizon, step):
        return json.loads(self.text)


def elapsed(run):
    """How much of the processor a run takes, in nanoseconds, and what it gives. Other processes do not count."""
    start = time.process_time_ns()
    result = run()
    return time.process_time_ns() - start, result


def median_ns(case):
    """Per item. The first run is not counted: compilers, caches."""
    case.sample()
    samples = []
    gc.disable()
    while len(samples) < FEWEST_SAMPLES or sum(samples) < MEASURED_NS:
        samples.append(case.sample())
    gc.enable()
    return statistics.median(samples) / case.items


def package(name):
    """Name and version, as the table shows them."""
    return f"{name} {importlib.metadata.version(name)}"


# ---------------------------------------------------------------------------------------------------------------------
# The cases
# ---------------------------------------------------------------------------------------------------------------------


class Inputs:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def text(self, name):
        return (self.folder / f"{name}.json").read_text()

    def json(self, name):
        return json.loads(self.text(name))

    def arrays(self, name, keys):
        columns = self.json(name)
        return [np.array(columns[key]) for key in keys]

    def moves(self):
        return np.diff(self.json("prices"))

    def asset(self):
        """The asset that crunch-synth scores on our grid."""
        half_width = self.json("grid_normal")["t_max"]
        return next(asset for asset, width in CRPS_BOUNDS["t"].items() if width == half_width)


def normal_crps(inputs):
    arguments = inputs.arrays("normals", ("x", "loc", "scale"))
    if len(arguments[0]) != NORMALS:
        sys.exit(f"our benchmark wrote {len(arguments[0]):,} normals, the table speaks of {NORMALS:,}")
    return faster_backend("crps_normal", arguments, "crps/normal")


def mixture_crps(inputs):
    arguments = inputs.arrays("mixtures", ("x", "loc", "scale", "weight"))
    return faster_backend("crps_mixnorm", arguments, "crps/mixture")


def faster_backend(function, arguments, ours):
    """Whichever backend of scoringrules is faster here, after both are warm."""

    def case(backend):
        run = functools.partial(getattr(scoringrules, function), *arguments, backend=backend)
        peer = f"{package('scoringrules')} {function}, {backend}"
        return Case(peer, run, len(arguments[0]), ours=ours, tolerance=EXACT)

    def warm_ns(case):
        case.sample()
        return statistics.median(case.sample() for _ in range(FEWEST_SAMPLES))

    return min([case("numpy"), case("numba")], key=warm_ns)


def grid_crps(inputs, name):
    grid = inputs.json(f"grid_{name}")
    score = functools.partial(
        crps_integral, grid["density"], t_min=grid["t_min"], t_max=grid["t_max"], num_points=grid["points"]
    )
    # One by one, so that a sample is no longer than it must be.
    moves = itertools.cycle(grid["moves"])
    peer = f"{package('crunch-synth')} crps_integral"
    return Case(
        peer,
        lambda: score(next(moves)),
        1,
        ours=f"grid/{name}",
        tolerance=GRID,
        numbers=lambda: [score(x) for x in grid["moves"]],
    )


def pdf(inputs, name):
    values = inputs.json(f"pdf_{name}")

    def run():
        return [density_pdf(values["density"], x) for x in values["points"]]

    peer = f"{package('densitypdf')} density_pdf"
    return Case(peer, run, len(values["points"]), ours=f"pdf/{name}", tolerance=EXACT)


def answer_evaluator(inputs):
    return EvaluatorCase(inputs.text("answer_6_digits"), inputs.json("prices"), inputs.asset())


def answer_integrals(inputs):
    """The evaluator's arithmetic without its bookkeeping: the moves are known, nothing is checked, rounded or kept."""
    text, moves = inputs.text("answer_6_digits"), inputs.moves()
    half_width = CRPS_BOUNDS["t"][inputs.asset()]

    def run():
        scores = [
            crps_integral(density, x, -half_width, half_width)
            for density, x in zip(json.loads(text), moves, strict=True)
        ]
        return np.mean(scores)

    peer = f"json.loads, {package('crunch-synth')} crps_integral"
    return Case(peer, run, 1, ours="answer/crps_grid", tolerance=SUM)


def answer_vectorised(inputs):
    """The fastest way in Python that we know: all increments as one array."""
    text, moves = inputs.text("answer_6_digits"), inputs.moves()
    peer = f"json.loads, {package('scoringrules')} crps_mixnorm"
    run = functools.partial(exact_mean_crps, text, moves)
    return Case(peer, run, 1, ours="answer/crps", tolerance=EXACT)


def parse(inputs, name):
    """Reading, the check of the count of components, rounding to 6 digits: predict_all of a tracker with the text."""
    text, moves = inputs.text(f"answer_{name}"), inputs.moves()
    run = functools.partial(AnsweringTracker(text).predict_all, inputs.asset(), HORIZON, [STEP])
    peer = f"json.loads, {package('crunch-synth')} predict_all"
    numbers = functools.partial(exact_mean_crps, text, moves)
    return Case(peer, run, 1, ours=f"parse/{name}", tolerance=EXACT, numbers=numbers)


def parse_only(inputs, name):
    """The reading alone, of which nothing is checked."""
    case = parse(inputs, name)
    case.peer, case.run = "json.loads alone", functools.partial(json.loads, inputs.text(f"answer_{name}"))
    return case


def exact_mean_crps(text, moves):
    """The mean exact CRPS of an answer of normal mixtures."""
    loc, scale, weight = np.moveaxis(np.array([normals_of(density) for density in json.loads(text)]), -1, 0)
    weight = weight / weight.sum(axis=1, keepdims=True)
    return scoringrules.crps_mixnorm(moves, loc, scale, weight, backend="numpy").mean()


def normals_of(mixture):
    parts = [(part["density"]["params"], part["weight"]) for part in mixture["components"]]
    return [(params["loc"], params["scale"], weight) for params, weight in parts]


CASES = {
    "crps/normal": normal_crps,
    "crps/mixture": mixture_crps,
    "grid/normal": functools.partial(grid_crps, name="normal"),
    "grid/mixture": functools.partial(grid_crps, name="mixture"),
    "pdf/normal": functools.partial(pdf, name="normal"),
    "pdf/mixture": functools.partial(pdf, name="mixture"),
    "answer/evaluator": answer_evaluator,
    "answer/integrals": answer_integrals,
    "answer/vectorised": answer_vectorised,
    "parse/6_digits": functools.partial(parse, name="6_digits"),
    "parse/full_doubles": functools.partial(parse, name="full_doubles"),
    "parse/identical": functools.partial(parse, name="identical"),
    "parse/json": functools.partial(parse_only, name="6_digits"),
}


# ---------------------------------------------------------------------------------------------------------------------
# The two commands
# ---------------------------------------------------------------------------------------------------------------------


def verify(inputs):
    """True when all numbers of theirs are ours."""
    scores = inputs.json("scores")
    return all([agrees(name, make(inputs), scores) for name, make in CASES.items()])


def agrees(name, case, scores):
    ours, theirs = (np.array(numbers, dtype=float, ndmin=1) for numbers in (scores[case.ours], case.numbers()))
    if ours.shape != theirs.shape:
        print(f"{name}: {ours.size} numbers of ours, {theirs.size} of {case.peer}", file=sys.stderr)
        return False
    difference = np.abs(ours - theirs) / np.maximum(np.abs(theirs), np.finfo(float).tiny)
    worst = np.argmax(np.where(np.isnan(difference), np.inf, difference))
    if difference[worst] <= case.tolerance:
        return True
    found = f"{ours[worst]:.17g} is ours, {theirs[worst]:.17g} that of {case.peer}"
    print(f"{name}: [{worst}] differs by {difference[worst]:.1e}, more than {case.tolerance}: {found}", file=sys.stderr)
    return False


def measure(inputs):
    """Cases are made when first asked for, and kept: they are measured once per round."""
    made = functools.cache(lambda name: CASES[name](inputs))
    for line in sys.stdin:
        name = line.strip()
        case = made(name)
        print(json.dumps({"case": name, "peer": case.peer, "ns": median_ns(case)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--verify", action="store_true")
    arguments = parser.parse_args()
    inputs = Inputs(arguments.folder)
    if arguments.verify:
        return 0 if verify(inputs) else 1
    measure(inputs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
