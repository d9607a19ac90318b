"""The smallest submission: one class with `tick` and `predict`, nothing but the standard library.

It forecasts log returns: each density is that of log(price at the end of the step / price at its start).
"""

import math

DAY = 24 * 3600
# Before any price: 2 % a day.
UNKNOWN_VARIANCE_PER_SECOND = 0.02**2 / DAY


class RandomWalk:
    """Log returns are normal and independent, as wide as they were over the last day."""

    def __init__(self):
        self.prices = {}

    def tick(self, prices):
        """Takes `{"BTC": [[unix seconds, price], ...], ...}`; late and corrected prices come this way too."""
        for asset, points in prices.items():
            known = self.prices.setdefault(asset, {})
            known.update(points)
            newest = max(known, default=0)
            self.prices[asset] = {at: price for at, price in known.items() if at > newest - DAY}

    def predict(self, asset, horizon, step):
        """One density for each step of the horizon, all in seconds."""
        scale = math.sqrt(step * self.variance_per_second(asset))
        density = {"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": scale}}
        return [{"step": at, **density} for at in range(step, horizon + 1, step)]

    def predict_all(self, asset, horizon, steps):
        """The same for several step sizes at once."""
        return {step: self.predict(asset, horizon, step) for step in steps if step <= horizon}

    def variance_per_second(self, asset):
        points = sorted(self.prices.get(asset, {}).items())
        squares = sum(math.log(price / before) ** 2 for (_, before), (_, price) in zip(points, points[1:]))
        if squares == 0:
            return UNKNOWN_VARIANCE_PER_SECOND
        return squares / (points[-1][0] - points[0][0])
