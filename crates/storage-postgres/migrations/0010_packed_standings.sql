-- What is packed already gets no smaller, and trying it took longer than all else of storing it.
ALTER TABLE leaderboards ALTER COLUMN document SET STORAGE EXTERNAL;
ALTER TABLE standings ALTER COLUMN document SET STORAGE EXTERNAL;
ALTER TABLE snapshots ALTER COLUMN document SET STORAGE EXTERNAL;

COMMENT ON COLUMN standings.document IS 'window scores; their first byte says in which form: 1 as bits, 40 as JSON in a zstd frame';
COMMENT ON COLUMN snapshots.document IS 'window scores, as in standings';
