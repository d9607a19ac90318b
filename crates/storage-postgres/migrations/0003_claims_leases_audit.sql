-- Claims and leases are by this server's clock, which alone judges who holds what.

ALTER TABLE rounds ADD COLUMN claimed_by TEXT;
ALTER TABLE rounds ADD COLUMN claimed_until TIMESTAMPTZ;

COMMENT ON COLUMN rounds.claimed_by IS 'the score worker that works on it';
COMMENT ON COLUMN rounds.claimed_until IS 'from then on another may take it';

CREATE INDEX rounds_by_claim ON rounds (claimed_by) WHERE claimed_by IS NOT NULL;

CREATE TABLE leases (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder  TEXT NOT NULL,
    token   BIGINT NOT NULL,
    until   TIMESTAMPTZ
);

COMMENT ON TABLE leases IS 'what one process at a time may do';
COMMENT ON COLUMN leases.token IS 'from 1; each new holder has the next';
COMMENT ON COLUMN leases.until IS 'from then on another may take it; none when it was given back';

ALTER TABLE standings ADD COLUMN ranked_up_to BIGINT NOT NULL DEFAULT 0;

COMMENT ON COLUMN standings.ranked_up_to IS
    'the last change of scores that leaderboards and snapshots hold: who ranks next goes on from there';

CREATE TABLE audit (
    number   BIGINT NOT NULL PRIMARY KEY,
    at       TIMESTAMPTZ NOT NULL,
    by_whom  TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT COLLATE "C",
    reason   TEXT NOT NULL
);

COMMENT ON TABLE audit IS 'what operators did; the newest order says which models are excluded and whether all is paused';
COMMENT ON COLUMN audit.number IS 'from 1';
COMMENT ON COLUMN audit.at IS 'by the clock of the operator''s machine';
COMMENT ON COLUMN audit.subject IS 'the round or model, if it is about one';
