-- The workers that write, as each says of itself every few seconds; none reads it to work.
CREATE TABLE workers (
    instance           TEXT NOT NULL PRIMARY KEY,  -- of one start
    role               TEXT NOT NULL,
    host               TEXT NOT NULL,
    version            TEXT NOT NULL,
    schema_version     INTEGER NOT NULL,           -- the newest migration that its program knows
    started_at         INTEGER NOT NULL,
    seen_at            INTEGER NOT NULL,           -- rows leave a day later
    state              TEXT NOT NULL,              -- what it does, in words
    waiting_writes     INTEGER,                    -- of a predict worker: what waits in its journal
    journal_bytes      INTEGER,
    oldest_waiting_at  INTEGER,
    due_rounds         INTEGER,                    -- seen by a score worker: resolved and not scored
    scoring_lag_s      INTEGER                     -- how long ago the oldest of them resolved
) STRICT, WITHOUT ROWID;
