-- From now on `document` of standings and snapshots is window scores whose first byte says in which form: 1 as bits, 40 as
-- JSON in a zstd frame. Older ones are read as ever, so that nothing is to be changed.
SELECT 1;
