ALTER TABLE rounds ADD COLUMN claimed_by TEXT;      -- the score worker that works on it
ALTER TABLE rounds ADD COLUMN claimed_until INTEGER; -- from then on another may take it

CREATE INDEX rounds_by_claim ON rounds (claimed_by) WHERE claimed_by IS NOT NULL;

-- What one process at a time may do.
CREATE TABLE leases (
    name    TEXT NOT NULL PRIMARY KEY,
    holder  TEXT NOT NULL,
    token   INTEGER NOT NULL,                      -- from 1; each new holder has the next
    until   INTEGER                                -- from then on another may take it; none when it was given back
) STRICT, WITHOUT ROWID;

-- The last change of scores that leaderboards and snapshots hold: who ranks next goes on from there.
ALTER TABLE standings ADD COLUMN ranked_up_to INTEGER NOT NULL DEFAULT 0;

-- What operators did; the newest order says which models are excluded and whether all is paused.
CREATE TABLE audit (
    number   INTEGER NOT NULL PRIMARY KEY,         -- from 1
    at       INTEGER NOT NULL,
    by_whom  TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT,                                 -- the round or model, if it is about one
    reason   TEXT NOT NULL
) STRICT;
