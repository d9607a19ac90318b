ALTER TABLE leases ADD COLUMN since TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp();

COMMENT ON COLUMN leases.since IS 'when the holder got it';

ALTER TABLE rounds ADD COLUMN contested BOOLEAN NOT NULL DEFAULT FALSE;

COMMENT ON COLUMN rounds.contested IS
    'two predict workers asked it, each cut off from the other: the outcomes that were stored first are kept';
