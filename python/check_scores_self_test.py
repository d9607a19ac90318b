"""Checks check_scores.py: its closed forms against quadrature, and the whole of it on a small export made here, whose
scores come from brute force; it has to pass, and copies with one fault each have to fail."""

import copy
import json
import math

import numpy as np
from scipy import integrate, special, stats

import check_scores
from check_scores import CAUCHY, LAPLACE, NORM, POINT, T

START = 1_747_699_200  # 2025-05-20T00:00:00Z
HOUR = 3600
AS_OF = START + 100 * HOUR


# --- Closed forms ------------------------------------------------------------------------------------------------------


def worst_closed_form():
    """The worst relative difference between closed forms and quadrature of the definition."""
    shapes = [[(1.0, family, 0.3, 2.0, 0.0)] for family in (NORM, LAPLACE, CAUCHY)]
    shapes += [[(1.0, T, -0.1, 0.5, df)] for df in (0.8, 1.0, 1.00001, 1.1, 2.5, 4.0, 30.0, 399.0, 401.0, 1e6)]
    shapes += [
        [(0.3, NORM, 0.0, 1.0, 0.0), (0.7, NORM, 0.5, 3.0, 0.0)],
        [(0.2, NORM, 0.0, 1.0, 0.0), (0.5, T, 0.5, 0.7, 3.0), (0.3, LAPLACE, -1.0, 0.2, 0.0)],
        [(0.6, CAUCHY, 0.0, 1.0, 0.0), (0.25, POINT, 0.4, 1.0, 0.0), (0.15, POINT, -2.0, 1.0, 0.0)],
        # The decomposition loses all digits here.
        [(1 - 1e-9, NORM, 0.0, 1e-3, 0.0), (1e-9, NORM, 1e6, 1.0, 0.0)],
    ]
    worst = 0.0
    for shape in shapes:
        x = np.array([-40.0, -1.3, -0.1, 0.0, 0.3, 0.4, 2.0, 90.0])
        closed = check_scores.crps_of_rows([tuple(shape)], np.zeros(len(x), dtype=int), x)
        direct = np.array([check_scores.crps_by_quadrature(shape, each) for each in x])
        worst = max(worst, float(np.max(np.abs(closed - direct) / direct)))
    return worst


# --- A made-up export ----------------------------------------------------------------------------------------------------


def written(at):
    return str(np.datetime64(int(at), "s")) + "Z"


def builtin(kind, **params):
    return {"type": "builtin", "name": kind, "params": params}


def weighted(*parts):
    return {"type": "mixture", "components": [{"weight": weight, "density": density} for weight, density in parts]}


NARROW = builtin("norm", loc=1e-5, scale=6e-4)
HEAVY = builtin("t", df=3, loc=0.0, scale=5e-4)
PEAKED = builtin("laplace", loc=0.0, scale=4e-4)
CRPS = "crps/1"
LOG_SCORE = "log_score/1;sum;asset_scales=1f0d3b77"
SCALES = {"BTC": 2.5}
BUCKETS = {"0.0": 0.5, "-1e-3": 1.5, "0.002": 0.5}

MODELS = {
    "narrow": NARROW,
    "heavy": HEAVY,
    "mixed": weighted((2, PEAKED), (-1, weighted((1, HEAVY), (3, NARROW))), (0, HEAVY)),
    "two normals": weighted((0.4, NARROW), (0.6, builtin("norm", loc=0, scale=2e-3))),
    "points": {"type": "buckets", "probabilities": BUCKETS},
    "wide": {"type": "statistics", "name": "normal", "params": {"mu": 0.0, "sigma": 0.1}},
    "late": NARROW,
    "dead": None,
}


def distribution_function(density, u):
    """F(u), one number, straight from the grammar."""
    if density["type"] == "mixture":
        parts = density["components"]
        total = sum(abs(part["weight"]) for part in parts)
        return sum(abs(part["weight"]) * distribution_function(part["density"], u) for part in parts) / total
    if density["type"] == "buckets":
        masses = density["probabilities"]
        return sum(mass for value, mass in masses.items() if float(value) <= u) / sum(masses.values())
    params = density["params"]
    if density["type"] == "statistics":
        return 0.5 * math.erfc((params["mu"] - u) / params["sigma"] / math.sqrt(2))
    z = (u - params["loc"]) / params["scale"]
    if density["name"] == "norm":
        return 0.5 * math.erfc(-z / math.sqrt(2))
    if density["name"] == "t":
        return float(special.stdtr(params["df"], z))
    return 0.5 * math.exp(z) if z < 0 else 1 - 0.5 * math.exp(-z)


def brute_force_log_score(density, x):
    """Minus the logarithm of the density, by SciPy; None for point masses, which have no finite one."""
    if density["type"] == "buckets":
        return None
    if density["type"] == "mixture":
        parts = density["components"]
        total = sum(abs(part["weight"]) for part in parts)
        return -math.log(
            sum(abs(p["weight"]) / total * math.exp(-brute_force_log_score(p["density"], x)) for p in parts)
        )
    params = density["params"]
    if density["type"] == "statistics":
        return -stats.norm.logpdf(x, params["mu"], params["sigma"])
    return -getattr(stats, density["name"]).logpdf(x, **params)


def brute_force_crps(density, x):
    """The definition, integrated piece by piece."""
    cuts = sorted({x, 0.0, 1e-5, -1e-3, 0.002, *(sign * 10.0**k for sign in (-1, 1) for k in np.arange(-4, 5.0))})
    total = 0.0
    for low, high in zip(cuts, cuts[1:]):

        def integrand(u, left=high <= x):
            below = distribution_function(density, u)
            return below**2 if left else (1 - below) ** 2

        total += integrate.quad(integrand, low, high, epsabs=1e-16, epsrel=1e-11, limit=200)[0]
    return total


def made_prices(random):
    """Minutes of two assets; one misses three minutes, repeats one entry, and corrects another."""
    rows = []
    for asset, start in (("BTC", 100_000.0), ("ETH", 2_500.0)):
        closes = start * np.exp(np.cumsum(random.normal(0, 7e-4, 100 * 60 + 1)))
        for minute, close in enumerate(closes):
            if asset == "ETH" and minute in (3, 4, 5):
                continue
            if minute == 2:
                rows.append({"asset": asset, "at": written(START + 60 * minute), "price": 1.5 * close})
            rows.append({"asset": asset, "at": written(START + 60 * minute), "price": close})
    return [{"position": position, **row} for position, row in enumerate(rows, start=1)]


def made_export(rule):
    """Rounds of three kinds every 20 hours, their answers, and everything that follows from them."""
    random = np.random.default_rng(20250520)
    tables = {table: [] for table in check_scores.TABLES}
    tables["prices"] = made_prices(random)
    closes = {(row["asset"], row["at"]): row["price"] for row in tables["prices"]}  # the later entry wins
    kinds = [(600, [60], "predict"), (3600, [3600], "predict"), (600, [60, 300], "predict_all")]
    for hour in range(0, 100, 20):
        for asset in ("BTC", "ETH"):
            for horizon, steps, method in kinds:
                # Two kinds share a horizon: they count as one parameter.
                make_round(tables, closes, rule, asset, horizon, steps, method, START + hour * HOUR)
    tables["rounds"].append({**tables["rounds"][0], "round_id": "missed", "state": "missed", **no_statuses()})
    make_standings(tables, rule)
    return tables


def no_statuses():
    return {"success": 0, "failed": 0, "timeout": 0, "absent": 0}


def make_round(tables, closes, rule, asset, horizon, steps, method, at):
    round_id = f"{asset}-{horizon}-{method}-{at}"
    row = {
        "round_id": round_id, "asset": asset, "horizon": horizon, "steps": steps, "method": method,
        "target": "log_return", "performed_at": written(at), "resolves_at": written(at + horizon), "state": "scored",
        "rule": rule, **no_statuses(),
    }  # fmt: skip
    scores = {}
    for model, density in MODELS.items():
        status = "ABSENT" if density is None else "TIMEOUT" if model == "late" and at == START else "SUCCESS"
        row[status.lower()] += 1
        answer = None
        if status == "SUCCESS":
            score = made_score(closes, rule, asset, horizon, steps, at, density)
            scores |= {model: score} if score else {}
            answer = json.dumps(made_answer(density, horizon, steps, method))
        tables["predictions"].append({"round_id": round_id, "model_id": model, "status": status, "answer": answer})
    raws = sorted(raw for raw, _ in scores.values())
    median = (raws[(len(raws) - 1) // 2] + raws[len(raws) // 2]) / 2
    cap = 10 * median if rule == CRPS else math.inf
    capped = {model: min(scores[model][0], cap) if model in scores else min(raws[-1], cap) for model in MODELS}
    ordered = sorted(capped.values())
    place = 0.95 * (len(ordered) - 1)
    below = int(place)
    row["best"], row["q95"] = raws[0], ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
    for model in MODELS:
        raw, step_scores = scores.get(model, (None, []))
        relative = min(1.0, max(0.0, (row["q95"] - capped[model]) / (row["q95"] - row["best"])))
        score = {"raw": raw, "relative": 0.0 if raw is None else relative, "steps": step_scores}
        tables["scores"].append({"round_id": round_id, "model_id": model, **score})
    tables["rounds"].append(row)


def made_answer(density, horizon, steps, method):
    lists = {str(step): [density] * (horizon // step) for step in steps}
    if method == "predict_all":
        return lists
    return BUCKETS if density["type"] == "buckets" and steps == [horizon] else lists[str(steps[0])]


KNOWN = {}


def made_score(closes, rule, asset, horizon, steps, at, density):
    """Raw score and step scores by brute force; None where there are none."""
    brute_force = brute_force_crps if rule == CRPS else brute_force_log_score
    step_scores = []
    for step in steps:
        values, count = [], horizon // step
        for k in range(count):
            ends = [closes.get((asset, written(at + (k + i) * step))) for i in (0, 1)]
            if None not in ends:
                key = rule, json.dumps(density), math.log(ends[1] / ends[0])
                if key not in KNOWN:
                    KNOWN[key] = brute_force(density, key[2])
                values.append(KNOWN[key])
        if None in values:
            return None
        if len(values) * 2 >= count:
            mean = sum(values) / len(values)
            left_out = count - len(values)
            step_scores.append({"step": f"{step}s", "mean": mean, "increments": len(values), "left_out": left_out})
    if rule == CRPS:
        return sum(step["mean"] for step in step_scores) / len(step_scores), step_scores
    return sum(step["mean"] * step["increments"] for step in step_scores) / SCALES.get(asset, 1.0), step_scores


def make_standings(tables, rule):
    rounds = {row["round_id"]: row for row in tables["rounds"]}
    entries = []
    for model in MODELS:
        scored = [(rounds[s["round_id"]], s) for s in tables["scores"] if s["model_id"] == model]
        first = min(row["resolves_at"] for row, _ in scored)
        common = {"as_of": written(AS_OF), "model_id": model}
        parameters = [made_windows(scored, asset, h, first) for asset in ("BTC", "ETH") for h in (600, 3600)]
        for windows in parameters:
            tables["windows"].append({**common, **windows})
        overall = {window: made_mean([p[window] for p in parameters]) for window in check_scores.WINDOW_HOURS}
        tables["windows"].append({**common, "asset": None, "horizon": None, "first_scored_at": first, **overall})
        full = [window for window in ("anchor", "steady", "recent") if overall[window]["full"]]
        has_number = overall["recent"]["score"] is not None
        group = full[0] if full and has_number else "provisional" if has_number else "unranked"
        entries.append({**common, "rule": rule, "group": group, "first_scored_at": first, **overall})

    def order(entry):
        window = entry["group"] if entry["group"] in check_scores.WINDOW_HOURS else "recent"
        return check_scores.GROUPS.index(entry["group"]), -(entry[window]["score"] or 0), entry["model_id"]

    for rank, entry in enumerate(sorted(entries, key=order), start=1):
        tables["leaderboard"].append({**entry, "rank": None if entry["group"] == "unranked" else rank})


def made_windows(scored, asset, horizon, first):
    row = {"asset": asset, "horizon": horizon}
    for window, hours in check_scores.WINDOW_HOURS.items():
        after = written(AS_OF - hours * HOUR)
        inside = [
            score
            for r, score in scored
            if (r["asset"], r["horizon"]) == (asset, horizon) and after < r["resolves_at"] <= written(AS_OF)
        ]
        raws = [score["raw"] for score in inside if score["raw"] is not None]
        row[window] = {
            "score": sum(score["relative"] for score in inside) / len(inside) if raws else None,
            "raw": sum(raws) / len(raws) if raws else None,
            "predictions": len(inside), "valid": len(raws), "full": first <= after,
        }  # fmt: skip
    return row


def made_mean(parts):
    valid = [part["raw"] for part in parts if part["raw"] is not None]
    return {
        "score": sum(part["score"] or 0 for part in parts) / len(parts) if valid else None,
        "raw": sum(valid) / len(valid) if valid else None,
        "predictions": sum(part["predictions"] for part in parts), "valid": sum(part["valid"] for part in parts),
        "full": parts[0]["full"],
    }  # fmt: skip


# --- Faults that have to be found ----------------------------------------------------------------------------------------


def swap_ranks(tables):
    board = tables["leaderboard"]
    board[0]["model_id"], board[1]["model_id"] = board[1]["model_id"], board[0]["model_id"]


def scored_with(tables, model):
    return next(score for score in tables["scores"] if score["model_id"] == model and score["raw"] is not None)


def change(row, key, factor):
    row[key] *= factor


FAULTS = {
    "a raw score off by 1e-8": lambda t: change(scored_with(t, "mixed"), "raw", 1 + 1e-8),
    "a relative score off by 1e-8": lambda t: change(scored_with(t, "narrow"), "relative", 1 + 1e-8),
    "a step mean off by 1e-8": lambda t: change(scored_with(t, "heavy")["steps"][0], "mean", 1 + 1e-8),
    "a miscounted increment": lambda t: change(scored_with(t, "heavy")["steps"][0], "increments", 2),
    "a price changed": lambda t: change(t["prices"][8], "price", 1.0001),
    "a price removed": lambda t: t["prices"].pop(8),
    "an answer changed": lambda t: t["predictions"][0].update(
        answer=t["predictions"][0]["answer"].replace("0.0006", "0.00060001")
    ),
    "a prediction removed": lambda t: t["predictions"].pop(3),
    "a prediction doubled": lambda t: t["predictions"].append(t["predictions"][3]),
    "a prediction without a score": lambda t: t["scores"].pop(3),
    "a score without a prediction": lambda t: t["scores"].append({**t["scores"][3], "model_id": "nobody"}),
    "a good score for a model that did not answer": lambda t: t["scores"][7].update(relative=1.0),
    "a round voided without need": lambda t: t["rounds"][1].update(state="void"),
    "the best of a round changed": lambda t: change(t["rounds"][2], "best", 1.001),
    "a round doubled": lambda t: t["rounds"].append(t["rounds"][0]),
    "a window's score off by 1e-8": lambda t: change(t["windows"][0]["anchor"], "score", 1 + 1e-8),
    "a window's count changed": lambda t: change(t["windows"][0]["recent"], "predictions", 2),
    "a window called full too early": lambda t: t["windows"][4]["anchor"].update(full=True),
    "a window missing": lambda t: t["windows"].pop(1),
    "two ranks swapped": swap_ranks,
    "a rank missing": lambda t: t["leaderboard"][0].update(rank=None),
    "a score of an answer that cannot be read": lambda t: t["predictions"][0].update(answer=None, unreadable="damaged"),
    "an empty leaderboard": lambda t: t["leaderboard"].clear(),
}


def with_unreadable(tables):
    """The same with a model whose answer cannot be read, so that the round was scored without it."""
    tables = copy.deepcopy(tables)
    round_id = tables["rounds"][0]["round_id"]
    tables["rounds"][0]["success"] += 1
    row = {"round_id": round_id, "model_id": "damaged", "status": "SUCCESS", "answer": None, "unreadable": "damaged"}
    tables["predictions"].append(row)
    return tables


def mismatches(tables):
    check = check_scores.Check(lambda table: copy.deepcopy(tables[table]), scales=SCALES)
    return check.run().mismatches


def run():
    """The exit status."""
    failures = []
    worst = worst_closed_form()
    print(f"closed forms against quadrature: worst relative difference {worst:.1e}")
    if worst > 1e-10:
        failures.append("closed forms and quadrature disagree")
    for rule in (CRPS, LOG_SCORE):
        export = made_export(rule)
        for good in (export, with_unreadable(export)):
            failures += [f"in a good export by {rule}: {mismatch}" for mismatch in mismatches(good)]
        for fault, spoil in FAULTS.items():
            spoilt = copy.deepcopy(export)
            spoil(spoilt)
            if not mismatches(spoilt):
                failures.append(f"not found in an export by {rule}: {fault}")
        count = len(export["predictions"])
        print(f"{rule}: a good export of {count} predictions, and {len(FAULTS)} with one fault each")
    for failure in failures:
        print(f"FAILED: {failure}")
    print("the check works" if not failures else f"{len(failures)} failures")
    return 1 if failures else 0
