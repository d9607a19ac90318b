CREATE TABLE scoring_changes (
    number    BIGINT NOT NULL PRIMARY KEY,
    at        TIMESTAMPTZ NOT NULL,
    rule      TEXT NOT NULL,
    settings  TEXT NOT NULL
);

COMMENT ON TABLE scoring_changes IS 'from when on how predictions were scored; only added to';
COMMENT ON COLUMN scoring_changes.number IS 'from 1';
COMMENT ON COLUMN scoring_changes.at IS 'when a score worker first worked so';
COMMENT ON COLUMN scoring_changes.rule IS 'the stamp of the scores';
COMMENT ON COLUMN scoring_changes.settings IS 'JSON: all settings of scoring';

-- What is scored or void by another rule than the one in force is scored again.
COMMENT ON COLUMN rounds.rule IS 'by which rule it was scored or voided: the stamp of its scores';

-- Until now there was but one rule.
UPDATE rounds SET rule = 'crps/1' WHERE state = 'void';
