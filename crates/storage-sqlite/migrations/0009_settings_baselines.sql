-- The settings that can change while workers run, as they were noted last; changes are in the audit.
CREATE TABLE settings (
    key    TEXT NOT NULL PRIMARY KEY,              -- dotted, as in the configuration file
    value  TEXT NOT NULL                           -- TOML
) STRICT, WITHOUT ROWID;

ALTER TABLE models ADD COLUMN is_baseline INTEGER NOT NULL DEFAULT 0; -- 1: the orchestrator's own, no participant's
