CREATE TABLE workers (
    instance           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    role               TEXT NOT NULL,
    host               TEXT NOT NULL,
    version            TEXT NOT NULL,
    schema_version     BIGINT NOT NULL,
    started_at         TIMESTAMPTZ NOT NULL,
    seen_at            TIMESTAMPTZ NOT NULL,
    state              TEXT NOT NULL,
    waiting_writes     BIGINT,
    journal_bytes      BIGINT,
    oldest_waiting_at  TIMESTAMPTZ,
    due_rounds         BIGINT,
    scoring_lag_s      BIGINT
);

COMMENT ON TABLE workers IS 'the workers that write, as each says of itself every few seconds; none reads it to work';
COMMENT ON COLUMN workers.instance IS 'of one start';
COMMENT ON COLUMN workers.schema_version IS 'the newest migration that its program knows';
COMMENT ON COLUMN workers.started_at IS 'by its own clock';
COMMENT ON COLUMN workers.seen_at IS 'by this server''s clock; rows leave a day later';
COMMENT ON COLUMN workers.state IS 'what it does, in words';
COMMENT ON COLUMN workers.waiting_writes IS 'of a predict worker: what waits in its journal, and since when in oldest_waiting_at';
COMMENT ON COLUMN workers.due_rounds IS 'seen by a score worker: resolved and not scored; the oldest for scoring_lag_s';
