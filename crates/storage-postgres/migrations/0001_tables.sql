-- How values are stored: columns that end in _s hold whole seconds, in _us microseconds; packed columns hold a zstd frame,
-- of a text or of JSON. Names sort as bytes (collation "C"), as in the program, whatever the server's language is.

CREATE TABLE models (
    model_id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    deployment_id      TEXT NOT NULL,
    name               TEXT,
    cruncher_id        TEXT,
    cruncher_name      TEXT,
    joined_at          TIMESTAMPTZ NOT NULL,
    last_connected_at  TIMESTAMPTZ NOT NULL,
    last_answered_at   TIMESTAMPTZ
);

COMMENT ON TABLE models IS 'every model ever seen';
COMMENT ON COLUMN models.deployment_id IS 'announced last';
COMMENT ON COLUMN models.name IS 'the participant''s free text';
COMMENT ON COLUMN models.last_answered_at IS 'the last slot with a valid answer';

CREATE TABLE prices (
    position  BIGINT NOT NULL PRIMARY KEY,
    asset     TEXT COLLATE "C" NOT NULL,
    at        TIMESTAMPTZ NOT NULL,
    price     DOUBLE PRECISION NOT NULL,
    source    TEXT NOT NULL
);

COMMENT ON TABLE prices IS 'the ledger: all prices in the order in which they were stored';
COMMENT ON COLUMN prices.position IS 'numbered by the one writer, from 1';
COMMENT ON COLUMN prices.at IS 'when the candle closed';

-- Holds the price too, so that the closes of a day are read from the index alone.
CREATE INDEX prices_by_close ON prices (asset, at, position DESC) INCLUDE (price);

CREATE TABLE rounds (
    round_id       UUID NOT NULL PRIMARY KEY,
    asset          TEXT COLLATE "C" NOT NULL,
    horizon_s      BIGINT NOT NULL,
    steps          TEXT NOT NULL,
    method         TEXT NOT NULL,
    target         TEXT NOT NULL,
    performed_at   TIMESTAMPTZ NOT NULL,
    resolves_at    TIMESTAMPTZ NOT NULL,
    state          TEXT COLLATE "C" NOT NULL,
    reason         TEXT,
    asked_at       TIMESTAMPTZ,
    closed_at      TIMESTAMPTZ,
    score_after    TIMESTAMPTZ,
    scored_at      TIMESTAMPTZ,
    success        BIGINT NOT NULL DEFAULT 0,
    failed         BIGINT NOT NULL DEFAULT 0,
    timeout        BIGINT NOT NULL DEFAULT 0,
    absent         BIGINT NOT NULL DEFAULT 0,
    rule           TEXT,
    best           DOUBLE PRECISION,
    q95            DOUBLE PRECISION,
    change_number  BIGINT
);

COMMENT ON TABLE rounds IS 'one question put to every model at one instant';
COMMENT ON COLUMN rounds.steps IS 'in seconds: 60,300';
COMMENT ON COLUMN rounds.performed_at IS 'the slot';
COMMENT ON COLUMN rounds.resolves_at IS 'performed_at + horizon';
COMMENT ON COLUMN rounds.reason IS 'why it is missed, void or interrupted';
COMMENT ON COLUMN rounds.closed_at IS 'closed, interrupted or found missed';
COMMENT ON COLUMN rounds.score_after IS 'scoring is put off until then';
COMMENT ON COLUMN rounds.scored_at IS 'scored or voided';
COMMENT ON COLUMN rounds.success IS 'predictions by status, as failed, timeout and absent';
COMMENT ON COLUMN rounds.rule IS 'of the scores, with its version';
COMMENT ON COLUMN rounds.best IS 'the best raw score';
COMMENT ON COLUMN rounds.q95 IS 'the 95 % quantile of the raw scores';
COMMENT ON COLUMN rounds.change_number IS 'of the last change of its scores';

CREATE INDEX rounds_by_state ON rounds (state, resolves_at, round_id);
CREATE INDEX rounds_by_slot ON rounds (performed_at);
CREATE UNIQUE INDEX rounds_by_change ON rounds (change_number, resolves_at) WHERE change_number IS NOT NULL;

CREATE TABLE change_counter (
    only_row     BOOLEAN NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    last_number  BIGINT NOT NULL
);

COMMENT ON TABLE change_counter IS
    'one row, locked by who changes scores until it commits: so numbers appear in the order in which they are given';

INSERT INTO change_counter (last_number) VALUES (0);

CREATE TABLE predictions (
    round_id       UUID NOT NULL,
    model_id       TEXT COLLATE "C" NOT NULL,
    deployment_id  TEXT,
    status         TEXT NOT NULL,
    reason         TEXT,
    received_at    TIMESTAMPTZ,
    took_us        BIGINT,
    answer         BYTEA,
    PRIMARY KEY (round_id, model_id)
);

-- The answers are packed already: no second attempt at every row.
ALTER TABLE predictions ALTER COLUMN answer SET STORAGE EXTERNAL;

COMMENT ON COLUMN predictions.deployment_id IS 'which start of its code; none when it was not running';
COMMENT ON COLUMN predictions.reason IS 'the cause, unless the status is SUCCESS';
COMMENT ON COLUMN predictions.took_us IS 'from the question to the whole answer';
COMMENT ON COLUMN predictions.answer IS 'packed: the valid answer as the model sent it';

CREATE TABLE refused_answers (
    round_id  UUID NOT NULL,
    model_id  TEXT COLLATE "C" NOT NULL,
    answer    BYTEA NOT NULL,
    PRIMARY KEY (round_id, model_id)
);

COMMENT ON TABLE refused_answers IS 'what was refused of bad answers; apart, because it is kept for a week only';
COMMENT ON COLUMN refused_answers.answer IS 'packed';

CREATE TABLE scores (
    round_id  UUID NOT NULL,
    model_id  TEXT COLLATE "C" NOT NULL,
    raw       DOUBLE PRECISION,
    relative  DOUBLE PRECISION NOT NULL,
    failure   TEXT,
    steps     TEXT NOT NULL,
    PRIMARY KEY (round_id, model_id)
);

COMMENT ON COLUMN scores.raw IS 'lower is better; none without a valid answer';
COMMENT ON COLUMN scores.relative IS '0 to 1, higher is better';
COMMENT ON COLUMN scores.failure IS 'why a valid answer has no score';
COMMENT ON COLUMN scores.steps IS 'JSON: mean and increments by step; as text, which keeps every bit';

CREATE TABLE leaderboards (
    as_of     TIMESTAMPTZ NOT NULL PRIMARY KEY,
    document  BYTEA NOT NULL
);

COMMENT ON COLUMN leaderboards.document IS 'packed JSON';

CREATE TABLE standings (
    only_row  BOOLEAN NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    as_of     TIMESTAMPTZ NOT NULL,
    document  BYTEA NOT NULL
);

COMMENT ON TABLE standings IS 'one row: the window scores behind the newest leaderboard';
COMMENT ON COLUMN standings.document IS 'packed JSON';

CREATE TABLE snapshots (
    as_of     TIMESTAMPTZ NOT NULL PRIMARY KEY,
    document  BYTEA NOT NULL
);

COMMENT ON TABLE snapshots IS 'the window scores as of each full hour';
COMMENT ON COLUMN snapshots.document IS 'packed JSON';
