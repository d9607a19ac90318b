-- How values are stored: instants are microseconds since the unix epoch, UTC; columns that end in _s hold whole seconds,
-- in _us microseconds; round ids are the 16 bytes of the UUID; packed columns hold a zstd frame, of a text or of JSON.
--
-- Scores are ANY and not REAL: a REAL column keeps whole numbers as integers, and so loses the sign of -0.0.

CREATE TABLE models (
    model_id           TEXT NOT NULL PRIMARY KEY,
    deployment_id      TEXT NOT NULL,              -- announced last
    name               TEXT,                       -- the participant's free text
    cruncher_id        TEXT,
    cruncher_name      TEXT,
    joined_at          INTEGER NOT NULL,
    last_connected_at  INTEGER NOT NULL,
    last_answered_at   INTEGER                     -- the last slot with a valid answer
) STRICT, WITHOUT ROWID;

-- The ledger: all prices in the order in which they were stored.
CREATE TABLE prices (
    position  INTEGER NOT NULL PRIMARY KEY,        -- numbered by the one writer, from 1
    asset     TEXT NOT NULL,
    at        INTEGER NOT NULL,                    -- when the candle closed
    price     REAL NOT NULL,
    source    TEXT NOT NULL
) STRICT;

-- Holds the price too, so that the closes of a day are read from the index alone.
CREATE INDEX prices_by_close ON prices (asset, at, position, price);

CREATE TABLE rounds (
    round_id       BLOB NOT NULL PRIMARY KEY,
    asset          TEXT NOT NULL,
    horizon_s      INTEGER NOT NULL,
    steps          TEXT NOT NULL,                  -- in seconds: 60,300
    method         TEXT NOT NULL,
    target         TEXT NOT NULL,
    performed_at   INTEGER NOT NULL,               -- the slot
    resolves_at    INTEGER NOT NULL,               -- performed_at + horizon
    state          TEXT NOT NULL,
    reason         TEXT,                           -- why it is missed, void or interrupted
    asked_at       INTEGER,
    closed_at      INTEGER,                        -- closed, interrupted or found missed
    score_after    INTEGER,                        -- scoring is put off until then
    scored_at      INTEGER,                        -- scored or voided
    success        INTEGER NOT NULL DEFAULT 0,     -- predictions by status
    failed         INTEGER NOT NULL DEFAULT 0,
    timeout        INTEGER NOT NULL DEFAULT 0,
    absent         INTEGER NOT NULL DEFAULT 0,
    rule           TEXT,                           -- of the scores, with its version
    best           ANY,                            -- the best raw score
    q95            ANY,                            -- the 95 % quantile of the raw scores
    change_number  INTEGER                         -- of the last change of its scores
) STRICT, WITHOUT ROWID;

CREATE INDEX rounds_by_state ON rounds (state, resolves_at, round_id);
CREATE INDEX rounds_by_slot ON rounds (performed_at);
CREATE UNIQUE INDEX rounds_by_change ON rounds (change_number, resolves_at) WHERE change_number IS NOT NULL;

-- One row: the number of the last change of scores.
CREATE TABLE change_counter (
    only_row     INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    last_number  INTEGER NOT NULL
) STRICT;

INSERT INTO change_counter (only_row, last_number) VALUES (1, 0);

CREATE TABLE predictions (
    round_id       BLOB NOT NULL,
    model_id       TEXT NOT NULL,
    deployment_id  TEXT,                           -- which start of its code; none when it was not running
    status         TEXT NOT NULL,
    reason         TEXT,                           -- the cause, unless the status is SUCCESS
    received_at    INTEGER,
    took_us        INTEGER,                        -- from the question to the whole answer
    answer         BLOB,                           -- packed: the valid answer as the model sent it
    PRIMARY KEY (round_id, model_id)
) STRICT;

-- What was refused of bad answers. A table of its own, because it is kept for a week only.
CREATE TABLE refused_answers (
    round_id  BLOB NOT NULL,
    model_id  TEXT NOT NULL,
    answer    BLOB NOT NULL,                       -- packed
    PRIMARY KEY (round_id, model_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE scores (
    round_id  BLOB NOT NULL,
    model_id  TEXT NOT NULL,
    raw       ANY,                                 -- lower is better; none without a valid answer
    relative  ANY NOT NULL,                        -- 0 to 1, higher is better
    failure   TEXT,                                -- why a valid answer has no score
    steps     TEXT NOT NULL,                       -- JSON: mean and increments by step
    PRIMARY KEY (round_id, model_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE leaderboards (
    as_of     INTEGER NOT NULL PRIMARY KEY,
    document  BLOB NOT NULL                        -- packed JSON
) STRICT;

-- One row: the window scores behind the newest leaderboard.
CREATE TABLE standings (
    only_row  INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    as_of     INTEGER NOT NULL,
    document  BLOB NOT NULL                        -- packed JSON
) STRICT;

-- The window scores as of each full hour.
CREATE TABLE snapshots (
    as_of     INTEGER NOT NULL PRIMARY KEY,
    document  BLOB NOT NULL                        -- packed JSON
) STRICT;
