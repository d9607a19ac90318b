#!/usr/bin/env python3
"""The independent check of scores: recomputes them from an export and compares.

From rounds, predictions and prices alone this recomputes every increment, its score, step mean, raw and relative score,
then every window and rank, by formulas of its own, and compares them with what the database holds to 1e-9. It knows the
rules crps, log_score and mean_density, and reads from the stamp of each round what else was set. It needs numpy and SciPy.
Run it while no score worker is in the middle of its work.

    check_scores.py --condor target/release/condor --database sqlite://replay.db
    check_scores.py --export DIR        (DIR holds rounds.jsonl, predictions.jsonl, scores.jsonl, prices.jsonl, ...)
    check_scores.py --self-test         (the check is checked, on an export of its own making)

Exit status: 0 all agree, 1 something differs, 2 the check could not be made.
"""

import argparse
import collections
import datetime
import functools
import itertools
import json
import math
import os
import subprocess
import sys

import numpy as np
from scipy import special

# Differences are relative to the larger of the number and a scale below which a number of its kind counts as zero.
TOLERANCE = 1e-9
RAW_SCALE = 1e-4
SCORE_SCALE = 1.0
MOST_MISMATCHES_SHOWN = 10
ROWS_AT_ONCE = 100_000
TABLES = ("rounds", "predictions", "scores", "prices", "windows", "leaderboard")
WINDOW_HOURS = {"recent": 24, "steady": 72, "anchor": 168}
GROUPS = ("anchor", "steady", "recent", "provisional", "unranked")
OUTLIER_CAP = 10.0


class CannotCheck(Exception):
    """The check cannot be made: bad input, or something that it does not know."""


# ---------------------------------------------------------------------------------------------------------------------
# CRPS. A distribution is a tuple of components (weight, family, loc, scale, df) with weights that sum to 1. `point` is a
# point mass at loc.
# ---------------------------------------------------------------------------------------------------------------------

FAMILIES = ("norm", "t", "laplace", "cauchy", "point")
NORM, T, LAPLACE, CAUCHY, POINT = range(len(FAMILIES))


def gamma_ratio(x):
    """Gamma(x + 1/2) / Gamma(x): for large x by its asymptotic series, where log-gammas would cancel."""
    x = np.asarray(x, dtype=float)
    r = 1.0 / x
    series = 1 + r * (-1 / 8 + r * (1 / 128 + r * (5 / 1024 + r * (-21 / 32768 + r * (-399 / 262144)))))
    direct = np.exp(special.gammaln(x + 0.5) - special.gammaln(x))
    return np.where(x > 200, np.sqrt(x) * series, direct)


def t_density(z, df):
    """Density of the standard Student t."""
    return gamma_ratio(df / 2) / np.sqrt(df * np.pi) * np.exp(-(df + 1) / 2 * np.log1p(z * z / df))


def crps_standard(family, z, df):
    """CRPS of the standard distribution of a family at z (Jordan, Krueger and Lerch 2019; Cauchy as the limit of t)."""
    if family == NORM:
        return z * special.erf(z / math.sqrt(2)) + math.sqrt(2 / math.pi) * np.exp(-z * z / 2) - 1 / math.sqrt(math.pi)
    if family == LAPLACE:
        return np.abs(z) + np.exp(-np.abs(z)) - 0.75
    if family == CAUCHY:
        return 2 / math.pi * (z * np.arctan(z) + math.log(2)) - np.log1p(z * z) / math.pi
    if family == POINT:
        return np.abs(z)
    # Student t: B(1/2, a) = sqrt(pi) / gamma_ratio(a)
    absolute = np.abs(z)
    beta_ratio = gamma_ratio(df / 2) ** 2 / gamma_ratio(df - 0.5) / math.sqrt(math.pi)
    return (
        absolute * (1 - 2 * special.stdtr(df, -absolute))
        + 2 * t_density(z, df) * (df + z * z) / (df - 1)
        - 2 * np.sqrt(df) / (df - 1) * beta_ratio
    )


def tails(component, u):
    """Distribution function and survival function of one component at u."""
    _, family, loc, scale, df = component
    if family == POINT:
        below = (u >= loc).astype(float)
        return below, 1 - below
    z = (u - loc) / scale
    if family == NORM:
        return special.ndtr(z), special.ndtr(-z)
    if family == T:
        return special.stdtr(df, z), special.stdtr(df, -z)
    if family == LAPLACE:
        tail = 0.5 * np.exp(-np.abs(z))
        return np.where(z < 0, tail, 1 - tail), np.where(z < 0, 1 - tail, tail)
    tail = np.arctan2(1.0, np.abs(z)) / math.pi
    return np.where(z < 0, tail, 1 - tail), np.where(z < 0, 1 - tail, tail)


# Panels about a centre, in scales: even ones where distribution functions bend, then doubling ones for power tails.
PANEL_EDGES = np.concatenate([np.arange(0, 12, 0.5), 12 * 2.0 ** np.arange(200)])
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(24)


def quadrature(components, cuts):
    """Nodes and weights of Gauss-Legendre panels over the real line, cut at every centre and at `cuts`."""
    edges = [np.asarray(cuts, dtype=float)]
    for _, family, loc, scale, _ in components:
        unit = scale if family != POINT else 0.0
        edges += [loc + unit * PANEL_EDGES, loc - unit * PANEL_EDGES]
    edges = np.unique(np.concatenate(edges))
    half = np.diff(edges)[:, None] / 2
    middle = ((edges[1:] + edges[:-1]) / 2)[:, None]
    return (middle + half * NODES).ravel(), (half * NODE_WEIGHTS).ravel()


def crps_by_quadrature(components, x):
    """CRPS from its definition: F^2 left of x plus S^2 right of it. Slow; for what has no other form."""
    nodes, weights = quadrature(components, [x])
    below = sum(c[0] * tails(c, nodes)[0] for c in components)
    above = sum(c[0] * tails(c, nodes)[1] for c in components)
    return float(np.sum(weights * np.where(nodes < x, below, above) ** 2))


@functools.lru_cache(maxsize=1_000_000)
def divergence(a, b):
    """Integral of (F_a - F_b)^2 of two components, given without their weights."""
    (family_a, loc_a, scale_a, df_a), (family_b, loc_b, scale_b, df_b) = a, b
    if family_a == POINT:
        return crps_of_leaf(family_b, loc_b, scale_b, df_b, loc_a)
    if family_b == POINT:
        return crps_of_leaf(family_a, loc_a, scale_a, df_a, loc_b)
    if family_a == family_b == NORM:
        both = math.hypot(scale_a, scale_b)
        z = (loc_a - loc_b) / both
        # Mean absolute difference of the two, less half of each one's own (Grimit et al. 2006).
        difference = both * (z * math.erf(z / math.sqrt(2)) + math.sqrt(2 / math.pi) * math.exp(-z * z / 2))
        return difference - (scale_a + scale_b) / math.sqrt(math.pi)
    pair = [(1.0, *a), (1.0, *b)]
    nodes, weights = quadrature(pair, [])
    (below_a, above_a), (below_b, above_b) = (tails(component, nodes) for component in pair)
    apart = np.where(nodes < (loc_a + loc_b) / 2, below_a - below_b, above_a - above_b)
    return float(np.sum(weights * apart**2))


def crps_of_leaf(family, loc, scale, df, x):
    """CRPS of one component at one x."""
    one = np.array([family]), np.array([loc]), np.array([scale]), np.array([df]), np.array([x])
    return float(crps_of_leaves(*one)[0])


def crps_of_leaves(family, loc, scale, df, x):
    """CRPS of many components, each at an x of its own."""
    result = np.empty(len(x))
    # The closed form of t has a removable singularity at one degree of freedom.
    singular = (family == T) & (np.abs(df - 1) < 1e-4)
    for code in np.unique(family):
        at = (family == code) & ~singular
        z = (x[at] - loc[at]) / scale[at]
        result[at] = scale[at] * crps_standard(code, z, df[at])
    for i in np.flatnonzero(singular):
        result[i] = crps_by_quadrature([(1.0, T, loc[i], scale[i], df[i])], x[i])
    return result


def spread(components):
    """Sum over pairs i < j of w_i w_j D_ij: what a mixture's CRPS is below the mean of its components'."""
    points = sorted((c[2], c[0]) for c in components if c[1] == POINT)
    others = [c for c in components if c[1] != POINT]
    total = 0.0
    if points:
        values, masses = (np.array(column) for column in zip(*points))
        below = np.cumsum(masses)[:-1]
        total += float(np.sum(np.diff(values) * below * (masses.sum() - below)))
    pairs = itertools.chain(
        itertools.combinations(others, 2), ((p, o) for p in components if p[1] == POINT for o in others)
    )
    for a, b in pairs:
        total += a[0] * b[0] * divergence(a[1:], b[1:])
    return total


def components_of_rows(shapes, shape_of_row):
    """All components of all rows: the row of each, then its weight, family, location, scale and degrees of freedom."""
    counts = np.array([len(shape) for shape in shapes])
    table = np.array([component for shape in shapes for component in shape], dtype=float)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    per_row = counts[shape_of_row]
    row = np.repeat(np.arange(len(shape_of_row)), per_row)
    first = np.repeat(np.cumsum(per_row) - per_row, per_row)
    component = np.repeat(starts[shape_of_row], per_row) + np.arange(len(row)) - first
    weight, family, loc, scale, df = table[component].T
    return row, weight, family.astype(int), loc, scale, df


def crps_of_rows(shapes, shape_of_row, x):
    """CRPS of row i: of shapes[shape_of_row[i]] at x[i]. By the decomposition
    CRPS(sum w_i F_i, x) = sum w_i CRPS(F_i, x) - sum_{i<j} w_i w_j integral (F_i - F_j)^2."""
    row, weight, family, loc, scale, df = components_of_rows(shapes, shape_of_row)
    of_components = weight * crps_of_leaves(family, loc, scale, df, x[row])
    mean = np.bincount(row, weights=of_components, minlength=len(x))
    spreads = np.array([spread(shape) if len(shape) > 1 else 0.0 for shape in shapes])
    result = mean - spreads[shape_of_row]
    # Too little left of the difference: a heavy, far component of small weight. Point masses alone are exact enough.
    for i in np.flatnonzero(mean > 1e4 * np.abs(result)):
        shape = shapes[shape_of_row[i]]
        if mean[i] > 0 and any(c[1] != POINT for c in shape):
            result[i] = crps_by_quadrature(shape, x[i])
    return result


def log_density_standard(family, z, df):
    """Logarithm of the density of the standard distribution of a family at z."""
    if family == NORM:
        return -z * z / 2 - math.log(2 * math.pi) / 2
    if family == LAPLACE:
        return -np.abs(z) - math.log(2)
    if family == CAUCHY:
        return -np.log(math.pi) - np.log1p(z * z)
    if family == POINT:
        return np.where(z == 0, math.inf, -math.inf)
    return np.log(gamma_ratio(df / 2) / np.sqrt(df * np.pi)) - (df + 1) / 2 * np.log1p(z * z / df)


def log_density_of_rows(shapes, shape_of_row, x):
    """Logarithm of the density of shapes[shape_of_row[i]] at x[i]; infinite at a point mass."""
    row, weight, family, loc, scale, df = components_of_rows(shapes, shape_of_row)
    of_components = np.log(weight) - np.log(scale)
    for code in np.unique(family):
        at = family == code
        of_components[at] += log_density_standard(code, (x[row[at]] - loc[at]) / scale[at], df[at])
    result = np.full(len(x), -math.inf)
    np.logaddexp.at(result, row, of_components)
    return result


SCORES_OF_ROWS = {
    "crps": crps_of_rows,
    "log_score": lambda *rows: -log_density_of_rows(*rows),
    "mean_density": lambda *rows: -np.exp(log_density_of_rows(*rows)),
}


# ---------------------------------------------------------------------------------------------------------------------
# What models answer
# ---------------------------------------------------------------------------------------------------------------------


def distribution(density):
    """The components of a density as a model sent it."""
    components = []
    collect(density, 1.0, components)
    return tuple(components)


def collect(density, weight, components):
    """Adds the components of a density that counts with `weight`; components of no weight are left out."""
    kind = density.get("type")
    if kind == "mixture":
        parts = density["components"]
        total = math.fsum(abs(part["weight"]) for part in parts)
        for part in parts:
            share = abs(part["weight"]) / total
            if share > 0:
                collect(part["density"], weight * share, components)
    elif kind == "buckets":
        collect_points(density["probabilities"], weight, components)
    else:
        family, loc, scale, df = leaf(density)
        components.append((weight, family, float(loc), float(scale), float(df)))


def collect_points(buckets, weight, components):
    """Adds point masses, return to probability."""
    total = math.fsum(buckets.values())
    for value, mass in buckets.items():
        if mass > 0:
            components.append((weight * mass / total, POINT, float(value), 1.0, 0.0))


def leaf(density):
    """Family, location, scale and degrees of freedom of a leaf."""
    kind, name, params = density.get("type"), density.get("name"), density.get("params", {})
    if kind == "statistics" and name == "normal":
        loc = params.get("mu", params.get("loc", 0.0))
        return NORM, loc, params.get("sigma", params.get("scale", 1.0)), 0.0
    if kind in ("builtin", "scipy") and name in ("norm", "t", "laplace", "cauchy"):
        df = params["df"] if name == "t" else 0.0
        return FAMILIES.index(name), params.get("loc", 0.0), params.get("scale", 1.0), df
    raise CannotCheck(f"this check does not know the density {json.dumps(density)[:200]}")


def densities_by_step(answer, horizon, steps):
    """Step in seconds to its list of densities; a bucket dictionary becomes a density."""
    if isinstance(answer, list):
        return {steps[0]: answer}
    if any(isinstance(answer.get(str(step)), list) for step in steps):
        return {step: answer[str(step)] for step in steps}
    if steps == [horizon]:
        return {horizon: [{"type": "buckets", "probabilities": answer}]}
    raise CannotCheck("an answer that is neither a list nor an object from step to list")


# ---------------------------------------------------------------------------------------------------------------------
# Settlement
# ---------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1_000_000)
def microseconds(text):
    """An instant as written in an export, in microseconds since 1970."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    instant = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return int(instant.timestamp()) * 1_000_000 + int(fraction[:6].ljust(6, "0") or 0)


def seconds(span):
    """A span, written as a number of seconds or as `90s`, `15m`, `24h`, `7d`."""
    if isinstance(span, str) and span[-1:] in "smhd" and span[:-1].isdigit():
        return int(span[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[span[-1]]
    return int(span)


class Prices:
    """The ledger: of several entries for one instant the one stored last counts."""

    def __init__(self, rows):
        by_asset = collections.defaultdict(dict)
        for row in sorted(rows, key=lambda row: row["position"]):
            by_asset[row["asset"]][microseconds(row["at"])] = row["price"]
        self.closes = {}
        for asset, closes in by_asset.items():
            instants = sorted(closes)
            self.closes[asset] = np.array(instants), np.array([closes[at] for at in instants])

    def increments(self, row, step, rule):
        """The realised increments over each step, NaN where an end is missing or both are on one price point."""
        count, target = row["horizon"] // step, row["target"]
        instants, prices = self.closes.get(row["asset"], (np.array([0]), np.array([math.nan])))
        wanted = microseconds(row["performed_at"]) + np.arange(count + 1) * step * 1_000_000
        place = np.searchsorted(instants, wanted, side="right") - 1
        if rule.is_nearest:
            later = np.minimum(place + 1, len(instants) - 1)
            is_nearer = (place < 0) | (np.abs(instants[later] - wanted) < wanted - instants[place])
            place = np.where(is_nearer, later, place)
        found = (place >= 0) & (np.abs(wanted - instants[place]) < rule.max_price_age_s * 1_000_000)
        price = np.where(found, prices[place], math.nan)
        before, after = price[:-1], price[1:]
        change = after - before
        if target == "log_return":
            change = np.log1p(change / before)
        elif target == "return":
            change = change / before
        elif target != "price_change":
            raise CannotCheck(f"this check does not know the target {target}")
        return np.where(place[1:] == place[:-1], math.nan, change)


# ---------------------------------------------------------------------------------------------------------------------
# The check
# ---------------------------------------------------------------------------------------------------------------------


class Findings:
    """What was compared, how far apart it was, and what differs."""

    def __init__(self):
        self.compared = collections.Counter()
        self.worst = collections.defaultdict(float)
        self.mismatches = []
        self.left_out = []

    def differs(self, what):
        self.mismatches.append(what)

    def same(self, kind, where, stored, own):
        """Compares what has to be equal exactly."""
        self.compared[kind] += 1
        if stored != own:
            self.differs(f"{kind} of {where}: stored {stored!r}, recomputed {own!r}")

    def close(self, kind, where, stored, own, scale):
        """Compares numbers, either of which may be None."""
        if stored is None or own is None:
            self.same(kind, where, stored, own)
            return
        self.compared[kind] += 1
        difference = abs(stored - own) / max(abs(own), scale)
        self.worst[kind] = max(self.worst[kind], difference)
        if not difference <= TOLERANCE:
            self.differs(f"{kind} of {where}: stored {stored!r}, recomputed {own!r}")

    def report(self):
        for kind, count in self.compared.items():
            worst = f", worst difference {self.worst[kind]:.1e}" if kind in self.worst else ""
            print(f"{count:>10,} x {kind}{worst}")
        for prediction in self.left_out:
            print(f"LEFT OUT: {prediction}")
        for mismatch in self.mismatches[:MOST_MISMATCHES_SHOWN]:
            print(f"DIFFERS: {mismatch}")
        more = len(self.mismatches) - MOST_MISMATCHES_SHOWN
        if more > 0:
            print(f"... and {more:,} more")
        print("all agree" if not self.mismatches else f"{len(self.mismatches):,} differences")


class Check:
    """Recomputes the scores of one export and compares them."""

    def __init__(self, read, weights=None, scales=None):
        self.read = read
        self.weights = weights or {}
        self.scales = scales or {}
        self.findings = Findings()
        self.rounds = {}
        for row in read("rounds"):
            if row["round_id"] in self.rounds:
                self.findings.differs(f"round {row['round_id']} is there twice")
            self.rounds[row["round_id"]] = row
        self.stored = {(row["round_id"], row["model_id"]): row for row in read("scores")}
        prices = Prices(read("prices"))
        self.settled = {key: self.settle(row, prices) for key, row in self.rounds.items()}
        # Round to model to the recomputed raw score, None without a valid answer.
        self.raw = collections.defaultdict(dict)
        self.relative = {}

    def run(self):
        self.check_predictions()
        for round_id, row in self.rounds.items():
            self.check_round(round_id, row)
        self.check_strays()
        self.check_standings()
        return self.findings

    @staticmethod
    def settle(row, prices):
        """Step to increments, for the steps of which at least half of the increments are there."""
        if row["state"] not in ("scored", "void"):
            return {}
        steps = {}
        for step in row["steps"]:
            increments = prices.increments(row, step, rule_of(row))
            if 2 * np.isfinite(increments).sum() >= len(increments):
                steps[step] = increments
        return steps

    def check_predictions(self):
        """Recomputes the score of every increment, in batches of one rule each."""
        statuses = collections.defaultdict(collections.Counter)
        batches = collections.defaultdict(Batch)
        for row in self.read("predictions"):
            key = row["round_id"], row["model_id"]
            statuses[row["round_id"]][row["status"].lower()] += 1
            if "unreadable" in row:
                # A fault of the organiser, which no model has to bear: the round is scored without it.
                self.findings.left_out.append(f"{name(key)}: {row['unreadable']}")
                continue
            if row["round_id"] not in self.rounds:
                self.findings.differs(f"prediction {name(key)} belongs to no round")
                continue
            if row["model_id"] in self.raw[row["round_id"]]:
                self.findings.differs(f"prediction {name(key)} is there twice")
                continue
            self.raw[row["round_id"]][row["model_id"]] = None
            steps = self.settled[row["round_id"]]
            if row["status"] == "SUCCESS" and steps:
                of_round = self.rounds[row["round_id"]]
                rule = rule_of(of_round).name
                batches[rule].add(key, json.loads(row["answer"]), of_round, steps)
                if len(batches[rule].x) >= ROWS_AT_ONCE:
                    self.take(batches.pop(rule), rule)
        for rule, batch in batches.items():
            self.take(batch, rule)
        for round_id, row in self.rounds.items():
            for status in ("success", "failed", "timeout", "absent"):
                stored, own = row[status], statuses[round_id][status]
                self.findings.same("status count", f"round {round_id} ({status})", stored, own)

    def take(self, batch, rule):
        """Compares the steps of each prediction in a batch, and keeps the raw scores."""
        for key, steps in batch.evaluate(SCORES_OF_ROWS[rule]):
            if not all(math.isfinite(mean) for _, mean, _, _ in steps):
                steps = []
            self.raw[key[0]][key[1]] = self.raw_score(self.rounds[key[0]], steps)
            if self.rounds[key[0]]["state"] != "scored" or key not in self.stored:
                continue
            stored = {seconds(step["step"]): step for step in self.stored[key]["steps"]}
            self.findings.same("steps", name(key), sorted(stored), sorted(step for step, *_ in steps))
            for step, mean, kept, left_out in steps:
                if step in stored:
                    where = f"{name(key)}, step {step} s"
                    self.findings.close("step mean", where, stored[step]["mean"], mean, RAW_SCALE)
                    self.findings.same("count of increments", where, stored[step]["increments"], kept)
                    self.findings.same("count of increments left out", where, stored[step]["left_out"], left_out)

    def raw_score(self, row, steps):
        """Of all steps; None when there is none, because the score of an increment is not finite."""
        if not steps:
            return None
        rule = rule_of(row)
        if rule.is_scaled and not self.scales:
            raise CannotCheck(f"round {row['round_id']} is by {row['rule']}: give each --scale, as in the configuration")
        scale = self.scales.get(row["asset"], 1.0) if rule.is_scaled else 1.0
        if rule.is_sum:
            return math.fsum(mean * kept for _, mean, kept, _ in steps) / scale
        return math.fsum(mean for _, mean, _, _ in steps) / len(steps) / scale

    def check_round(self, round_id, row):
        field = self.raw[round_id]
        valid = [raw for raw in field.values() if raw is not None]
        if row["state"] == "void" and valid:
            self.findings.differs(f"round {round_id} is void, but its prices are there and {len(valid)} answers count")
        if row["state"] != "scored":
            return
        if not valid:
            self.findings.differs(f"round {round_id} is scored, but no answer or no price counts")
            return
        self.relative[round_id], best, q95 = relative_scores(field, rule_of(row).outlier_cap)
        self.findings.close("best of a round", round_id, row["best"], best, RAW_SCALE)
        self.findings.close("95 % quantile of a round", round_id, row["q95"], q95, RAW_SCALE)
        for model, raw in field.items():
            key = round_id, model
            if key not in self.stored:
                self.findings.differs(f"prediction {name(key)} has no score")
                continue
            stored, relative = self.stored[key], self.relative[round_id][model]
            self.findings.close("raw score", name(key), stored["raw"], raw, RAW_SCALE)
            self.findings.close("relative score", name(key), stored["relative"], relative, SCORE_SCALE)

    def check_strays(self):
        for round_id, model in self.stored:
            if model not in self.relative.get(round_id, {}):
                self.findings.differs(f"score {name((round_id, model))} belongs to no prediction of a scored round")

    def check_standings(self):
        entries = list(self.read("leaderboard"))
        rows = list(self.read("windows"))
        if not entries:
            self.findings.differs("there is no leaderboard")
            return
        as_of = microseconds(entries[0]["as_of"])
        own, first_resolved = self.windows(as_of, entries[0]["rule"])
        overall = {row["model_id"]: row for row in rows if row["asset"] is None}
        for row in rows:
            self.findings.same("instant of the windows", row["model_id"], microseconds(row["as_of"]), as_of)
        parameters = {(row["model_id"], row["asset"], seconds(row["horizon"])): row for row in rows if row["asset"]}
        held = {key for key, windows in own.items() if windows["anchor"]["predictions"]}
        self.findings.same("models and parameters", "the windows", sorted(parameters), sorted(held))
        models = sorted({model for model, *_ in held})
        self.findings.same("models", "the windows", sorted(overall), models)
        self.findings.same("models", "the leaderboard", sorted(entry["model_id"] for entry in entries), models)
        full = {}
        for model in set(overall) & set(models):
            full[model] = self.check_first_scored(model, overall[model], first_resolved[model], as_of)
            for key in held & {key for key in parameters if key[0] == model}:
                self.compare_windows(", ".join(map(str, key)), parameters[key], own[key], full[model])
        means = {model: self.over_parameters(model, own) for model in models}
        for source in (overall, {entry["model_id"]: entry for entry in entries}):
            for model in set(source) & set(full):
                self.compare_windows(model, source[model], means[model], full[model])
        self.check_ranks([entry for entry in entries if entry["model_id"] in full], means, full)

    def windows(self, as_of, rule):
        """(model, asset, horizon) to the means of each window; and when each model's first scored round resolved.
        Scores by another rule than the one in force are in no window."""
        sums = collections.defaultdict(lambda: {window: ([], []) for window in WINDOW_HOURS})
        first = {}
        for round_id, relatives in self.relative.items():
            row = self.rounds[round_id]
            resolved = microseconds(row["resolves_at"])
            if resolved > as_of:
                continue
            for model, relative in relatives.items():
                first[model] = min(first.get(model, resolved), resolved)
                for window, hours in WINDOW_HOURS.items():
                    if row["rule"] == rule and resolved > as_of - hours * 3_600_000_000:
                        scores, raws = sums[model, row["asset"], row["horizon"]][window]
                        scores.append(relative)
                        if self.raw[round_id][model] is not None:
                            raws.append(self.raw[round_id][model])
        return {key: {w: window_mean(*pair) for w, pair in windows.items()} for key, windows in sums.items()}, first

    def check_first_scored(self, model, row, first_resolved, as_of):
        """Which windows of a model are full."""
        stored = row["first_scored_at"] and microseconds(row["first_scored_at"])
        oldest = min(microseconds(row["performed_at"]) for row in self.rounds.values())
        if stored is None or stored >= oldest:  # else the round has been pruned
            self.findings.same("first scored round", model, stored, first_resolved)
        return {w: stored is not None and stored <= as_of - h * 3_600_000_000 for w, h in WINDOW_HOURS.items()}

    def over_parameters(self, model, own):
        """The weighted means over the parameters in which a model was in the field."""
        result = {}
        for window in WINDOW_HOURS:
            parts = [
                (self.weight(asset, horizon), windows[window])
                for (of_model, asset, horizon), windows in own.items()
                if of_model == model and windows[window]["predictions"]
            ]
            valid = [(weight, part["raw"]) for weight, part in parts if part["raw"] is not None]
            result[window] = {
                "score": weighted_mean((weight, part["score"] or 0.0) for weight, part in parts) if valid else None,
                "raw": weighted_mean(valid),
                "predictions": sum(part["predictions"] for _, part in parts),
                "valid": sum(part["valid"] for _, part in parts),
            }
        return result

    def weight(self, asset, horizon):
        of_horizon = [weight for key, weight in self.weights.items() if key[:1].isdigit() and seconds(key) == horizon]
        return self.weights.get(asset, 1.0) * (of_horizon[0] if of_horizon else 1.0)

    def compare_windows(self, where, stored, own, full):
        for window in WINDOW_HOURS:
            place = f"{where}, {window} window"
            for number, scale in (("score", SCORE_SCALE), ("raw", RAW_SCALE)):
                numbers = stored[window][number], own[window][number]
                self.findings.close(f"{number} of a window", place, *numbers, scale)
            for count in ("predictions", "valid"):
                self.findings.same(f"{count} of a window", place, stored[window][count], own[window][count])
            self.findings.same("fullness of a window", place, stored[window]["full"], full[window])

    def check_ranks(self, entries, means, full):
        places = []
        for position, entry in enumerate(entries, start=1):
            model = entry["model_id"]
            group, score = ranked_by(means[model], full[model])
            self.findings.same("ranking group", model, entry["group"], group)
            self.findings.same("rank", model, entry["rank"], position if group != "unranked" else None)
            stored = entry[group if group in WINDOW_HOURS else "recent"]["score"]
            first = entry["first_scored_at"]
            tie_break = (microseconds(first) if first else math.inf, model.encode())
            places.append((GROUPS.index(group), score, stored, tie_break, model))
        for (group_a, own_a, stored_a, tie_a, a), (group_b, own_b, stored_b, tie_b, b) in zip(places, places[1:]):
            if group_a != group_b:
                in_order = group_a < group_b
            elif own_a is None or stored_a == stored_b:
                in_order = tie_a < tie_b
            else:
                in_order = stored_a > stored_b and own_a >= own_b - TOLERANCE
            self.findings.same("order of two neighbours", f"{a} before {b}", in_order, True)


class Batch:
    """Predictions whose scores are computed together."""

    def __init__(self):
        self.shapes = {}
        self.shape_of_row, self.x = [], []
        # Key, step, rows, increments left out.
        self.segments = []

    def add(self, key, answer, row, steps):
        by_step = densities_by_step(answer, row["horizon"], row["steps"])
        for step, increments in steps.items():
            densities = by_step[step]
            if len(densities) != len(increments):
                raise CannotCheck(f"{name(key)} has {len(densities)} densities for {len(increments)} increments")
            before, shape = None, None
            start = len(self.x)
            for density, x in zip(densities, increments.tolist()):
                if math.isnan(x):
                    continue
                if density != before:
                    shape = self.shapes.setdefault(distribution(density), len(self.shapes))
                    before = density
                self.shape_of_row.append(shape)
                self.x.append(x)
            kept = len(self.x) - start
            self.segments.append((key, step, start, kept, len(increments) - kept))

    def evaluate(self, scores_of_rows):
        """Each prediction's key with (step, mean score, increments, increments left out) of each of its steps."""
        if not self.x:
            return
        scores = scores_of_rows(list(self.shapes), np.array(self.shape_of_row), np.array(self.x))
        for key, segments in itertools.groupby(self.segments, key=lambda segment: segment[0]):
            yield key, [
                (step, mean_score(scores[start : start + kept]), kept, left_out)
                for _, step, start, kept, left_out in segments
            ]


def mean_score(scores):
    return math.fsum(scores) / len(scores) if np.isfinite(scores).all() else math.nan


Rule = collections.namedtuple("Rule", "name is_sum is_scaled outlier_cap is_nearest max_price_age_s")


def rule_of(row):
    """How a round was scored or voided."""
    return read_stamp(row["rule"] or "crps/1")


@functools.lru_cache
def read_stamp(stamp):
    """What a stamp such as `crps/1;sum;outlier_cap=5` says."""
    name, *parts = stamp.split(";")
    if name not in ("crps/1", "log_score/1", "mean_density/1"):
        raise CannotCheck(f"this check does not know the rule {stamp}")
    rule = Rule(name.removesuffix("/1"), False, False, OUTLIER_CAP if name == "crps/1" else None, False, 60)
    for key, _, value in (part.partition("=") for part in parts):
        if key == "sum":
            rule = rule._replace(is_sum=True)
        elif key == "asset_scales":
            rule = rule._replace(is_scaled=True)
        elif key == "outlier_cap":
            rule = rule._replace(outlier_cap=float(value))
        elif key == "nearest":
            rule = rule._replace(is_nearest=True)
        elif key == "max_price_age":
            rule = rule._replace(max_price_age_s=seconds(value))
        else:
            raise CannotCheck(f"this check does not know {key} of the rule {stamp}")
    return rule


def relative_scores(field, outlier_cap=OUTLIER_CAP):
    """Model to relative score, the best raw score, and the 95 % quantile, from model to raw score."""
    valid = np.array([raw for raw in field.values() if raw is not None])
    cap = math.inf if outlier_cap is None else outlier_cap * np.median(valid)
    worst = min(valid.max(), cap)
    capped = {model: worst if raw is None else min(raw, cap) for model, raw in field.items()}
    best, q95 = valid.min(), np.quantile(list(capped.values()), 0.95)

    def relative(model, raw):
        if raw is None:
            return 0.0
        return 1.0 if q95 == best else float(np.clip((q95 - capped[model]) / (q95 - best), 0, 1))

    return {model: relative(model, raw) for model, raw in field.items()}, float(best), float(q95)


def window_mean(scores, raws):
    return {
        "score": math.fsum(scores) / len(scores) if raws else None,
        "raw": math.fsum(raws) / len(raws) if raws else None,
        "predictions": len(scores),
        "valid": len(raws),
    }


def weighted_mean(pairs):
    pairs = list(pairs)
    total = math.fsum(weight for weight, _ in pairs)
    return math.fsum(weight * value for weight, value in pairs) / total if total > 0 else None


def ranked_by(windows, full):
    """Group and score by which a model is ranked."""
    for window in ("anchor", "steady", "recent"):
        if full[window] and windows[window]["score"] is not None:
            return window, windows[window]["score"]
    score = windows["recent"]["score"]
    return ("unranked" if score is None else "provisional"), score


def name(key):
    return f"{key[0]}/{key[1]}"


# ---------------------------------------------------------------------------------------------------------------------
# Reading exports
# ---------------------------------------------------------------------------------------------------------------------


def read_folder(folder):
    """A reader of DIR/TABLE.jsonl."""

    def read(table):
        try:
            with open(os.path.join(folder, f"{table}.jsonl"), encoding="utf-8") as lines:
                yield from map(json.loads, lines)
        except OSError as error:
            raise CannotCheck(f"cannot read the export: {error}") from error

    return read


def read_database(condor, database):
    """A reader that lets condor export."""

    def read(table):
        command = [condor, "db", "export", table, "--json", "--database", database]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
        except OSError as error:
            raise CannotCheck(f"cannot start {condor}: {error}") from error
        with process:
            yield from map(json.loads, process.stdout)
        if process.returncode != 0:
            raise CannotCheck(f"`{' '.join(command)}` failed with status {process.returncode}")

    return read


def numbers(option, pairs):
    """Name to number, from the pairs given to an option."""
    result = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise CannotCheck(f"--{option} {pair}: write it as BTC=2")
        result[key] = float(value)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--condor", metavar="PROGRAM", default="condor", help="the condor program")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--database", metavar="URL", help="let condor export from this database")
    source.add_argument("--export", metavar="DIR", help="a folder with " + ", ".join(f"{t}.jsonl" for t in TABLES))
    source.add_argument("--self-test", action="store_true", help="check the check")
    parser.add_argument("--weight", metavar="NAME=W", action="append", default=[], help="of an asset or a horizon")
    parser.add_argument("--scale", metavar="ASSET=S", action="append", default=[], help="of an asset's raw scores")
    arguments = parser.parse_args()
    if arguments.self_test:
        import check_scores_self_test

        return check_scores_self_test.run()
    if arguments.export:
        read = read_folder(arguments.export)
    else:
        read = read_database(arguments.condor, arguments.database)
    findings = Check(read, numbers("weight", arguments.weight), numbers("scale", arguments.scale)).run()
    findings.report()
    return 1 if findings.mismatches else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotCheck as error:
        print(f"cannot check: {error}", file=sys.stderr)
        sys.exit(2)
