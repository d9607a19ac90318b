-- From when on how predictions were scored; only added to. Also from now on: `rounds.rule` is by which rule a round was
-- scored or voided, and what is scored or void by another rule than the one in force is scored again.
CREATE TABLE scoring_changes (
    number    INTEGER NOT NULL PRIMARY KEY,        -- from 1
    at        INTEGER NOT NULL,                    -- when a score worker first worked so
    rule      TEXT NOT NULL,                       -- the stamp of the scores
    settings  TEXT NOT NULL                        -- JSON: all settings of scoring
) STRICT;

-- Until now there was but one rule.
UPDATE rounds SET rule = 'crps/1' WHERE state = 'void';
