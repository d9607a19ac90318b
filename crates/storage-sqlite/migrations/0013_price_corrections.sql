-- Prices that came when their instant was past: another one was known for it, or a later close of the asset.
CREATE TABLE price_corrections (
    position     INTEGER NOT NULL PRIMARY KEY,     -- of the entry that corrects
    asset        TEXT NOT NULL,
    at           INTEGER NOT NULL,                 -- when the candle closed
    old_price    REAL,                             -- none where it was missing
    new_price    REAL NOT NULL,
    source       TEXT NOT NULL,
    recorded_at  INTEGER NOT NULL,
    is_applied   INTEGER NOT NULL DEFAULT 0        -- the rounds that it touches are marked
) STRICT;

CREATE INDEX price_corrections_by_asset ON price_corrections (asset, position);
CREATE INDEX price_corrections_by_close ON price_corrections (asset, at);
CREATE INDEX price_corrections_to_apply ON price_corrections (position) WHERE is_applied = 0;

ALTER TABLE rounds ADD COLUMN priced_up_to INTEGER;       -- the place in the ledger up to which it was priced when it was judged
ALTER TABLE rounds ADD COLUMN first_priced_up_to INTEGER; -- the same when it was judged first
ALTER TABLE rounds ADD COLUMN corrected_by INTEGER;       -- the place of the last correction that touches it

-- Nobody noted where the ledger ended; corrections are on record from now on. Older rounds are not scored again.
UPDATE rounds SET priced_up_to = 0, first_priced_up_to = 0
WHERE state IN ('scored', 'void')
  AND resolves_at > (SELECT max(resolves_at) FROM rounds WHERE state = 'scored') - 15 * 86400 * 1000000;
