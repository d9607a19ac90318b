-- What waits for the database, in the order in which it was handed in. Numbers are never used again.
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,     -- when it was committed here, microseconds since the epoch
    payload TEXT NOT NULL    -- JSON
);

-- The outcomes of rounds that are not in the database yet, so that a closed round need not repeat them.
CREATE TABLE IF NOT EXISTS outcomes (
    seq INTEGER PRIMARY KEY,
    round_id BLOB NOT NULL,
    payload TEXT NOT NULL,   -- JSON: the prediction without its answer
    answer BLOB              -- the answer's bytes
);
CREATE INDEX IF NOT EXISTS outcomes_by_round ON outcomes (round_id);

-- What the database refused for good, for an operator to look at; nothing is removed from here.
CREATE TABLE IF NOT EXISTS refused (
    seq INTEGER PRIMARY KEY,
    why TEXT NOT NULL,
    round_id BLOB,
    payload TEXT NOT NULL,
    answer BLOB
);

-- The lease under which the records were written: at most one row.
CREATE TABLE IF NOT EXISTS lease (
    token INTEGER NOT NULL
);

-- Whose records these are: at most one row.
CREATE TABLE IF NOT EXISTS owner (
    crunch_id TEXT NOT NULL,
    database TEXT NOT NULL   -- its address without secrets
);
