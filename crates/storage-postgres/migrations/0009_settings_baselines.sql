CREATE TABLE settings (
    key    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value  TEXT NOT NULL
);

COMMENT ON TABLE settings IS
    'the settings that can change while workers run, as they were noted last; changes are in the audit';
COMMENT ON COLUMN settings.key IS 'dotted, as in the configuration file';
COMMENT ON COLUMN settings.value IS 'TOML';

ALTER TABLE models ADD COLUMN is_baseline BOOLEAN NOT NULL DEFAULT false;

COMMENT ON COLUMN models.is_baseline IS 'the orchestrator''s own model, no participant''s';
