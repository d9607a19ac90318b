ALTER TABLE leases ADD COLUMN since INTEGER NOT NULL DEFAULT 0; -- when the holder got it

-- Two predict workers asked it, each cut off from the other: the outcomes that were stored first are kept.
ALTER TABLE rounds ADD COLUMN contested INTEGER NOT NULL DEFAULT 0;
