CREATE TABLE price_corrections (
    position     BIGINT NOT NULL PRIMARY KEY,
    asset        TEXT COLLATE "C" NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    old_price    DOUBLE PRECISION,
    new_price    DOUBLE PRECISION NOT NULL,
    source       TEXT NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL,
    is_applied   BOOLEAN NOT NULL DEFAULT FALSE
);

COMMENT ON TABLE price_corrections IS
    'prices that came when their instant was past: another one was known for it, or a later close of the asset';
COMMENT ON COLUMN price_corrections.position IS 'of the entry that corrects';
COMMENT ON COLUMN price_corrections.at IS 'when the candle closed';
COMMENT ON COLUMN price_corrections.old_price IS 'none where it was missing';
COMMENT ON COLUMN price_corrections.is_applied IS 'the rounds that it touches are marked';

CREATE INDEX price_corrections_by_asset ON price_corrections (asset, position);
CREATE INDEX price_corrections_by_close ON price_corrections (asset, at);
CREATE INDEX price_corrections_to_apply ON price_corrections (position) WHERE NOT is_applied;

ALTER TABLE rounds ADD COLUMN priced_up_to BIGINT;
ALTER TABLE rounds ADD COLUMN first_priced_up_to BIGINT;
ALTER TABLE rounds ADD COLUMN corrected_by BIGINT;

COMMENT ON COLUMN rounds.priced_up_to IS 'the place in the ledger up to which it was priced when it was judged';
COMMENT ON COLUMN rounds.first_priced_up_to IS 'the same when it was judged first';
COMMENT ON COLUMN rounds.corrected_by IS 'the place of the last correction that touches it';

-- Nobody noted where the ledger ended; corrections are on record from now on. Older rounds are not scored again.
UPDATE rounds SET priced_up_to = 0, first_priced_up_to = 0
WHERE state IN ('scored', 'void')
  AND resolves_at > (SELECT max(resolves_at) FROM rounds WHERE state = 'scored') - INTERVAL '15 days';
