-- What windows are computed from: sums of scores by hour and by round, for the time that windows reach back to. They can be
-- made again from `rounds` and `scores`, and are, when their rule is no longer the one in force.

-- One row: of what they are; none while there are none.
CREATE TABLE roll_up_mark (
    only_row  INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    rule      TEXT NOT NULL,                       -- of the scores
    up_to     INTEGER NOT NULL,                    -- they hold every change of scores up to this number
    after     INTEGER NOT NULL                     -- they hold what resolved later
) STRICT;

-- The models, by the numbers that packed sums call them.
CREATE TABLE roll_up_models (
    number           INTEGER NOT NULL PRIMARY KEY, -- from 0, without a gap
    model_id         TEXT NOT NULL UNIQUE,
    joined_at        INTEGER,                      -- as when its first scored round was looked up
    first_scored_at  INTEGER                       -- when that round resolved
) STRICT;

CREATE TABLE roll_up_hours (
    hour_end   INTEGER NOT NULL,
    asset      TEXT NOT NULL,
    horizon_s  INTEGER NOT NULL,
    sums       BLOB NOT NULL,                      -- packed: over the rounds that resolved in it
    PRIMARY KEY (hour_end, asset, horizon_s)
) STRICT;

CREATE TABLE roll_up_rounds (
    round_id     BLOB NOT NULL PRIMARY KEY,
    asset        TEXT NOT NULL,
    horizon_s    INTEGER NOT NULL,
    resolves_at  INTEGER NOT NULL,
    sums         BLOB NOT NULL                     -- packed: its scores
) STRICT;

CREATE INDEX roll_up_rounds_by_resolution ON roll_up_rounds (resolves_at, round_id);
