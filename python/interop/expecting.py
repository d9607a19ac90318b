"""How a check says what differs."""

import asyncio

# Longer than anything takes that goes well, in seconds.
PATIENCE = 120
LOOK_EVERY = 0.05


class Failed(Exception):
    """The two sides do not agree."""


def expect(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: got {got!r} instead of {wanted!r}")


def expect_within(got, wanted, what):
    """A text that has another one in it."""
    if wanted not in got:
        raise Failed(f"{what}: there is no {wanted!r} in {got!r}")


async def until(find, what):
    """The first result of `find` that counts as true."""
    for _ in range(int(PATIENCE / LOOK_EVERY)):
        if found := find():
            return found
        await asyncio.sleep(LOOK_EVERY)
    raise Failed(f"it did not come about within {PATIENCE} s that {what}")
