-- What windows are computed from: sums of scores by hour and by round, for the time that windows reach back to. They can be
-- made again from `rounds` and `scores`, and are, when their rule is no longer the one in force.

CREATE TABLE roll_up_mark (
    only_row  BOOLEAN NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    rule      TEXT NOT NULL,
    up_to     BIGINT NOT NULL,
    after     TIMESTAMPTZ NOT NULL
);

COMMENT ON TABLE roll_up_mark IS 'one row: of what the roll-ups are; none while there are none';
COMMENT ON COLUMN roll_up_mark.rule IS 'of the scores';
COMMENT ON COLUMN roll_up_mark.up_to IS 'they hold every change of scores up to this number';
COMMENT ON COLUMN roll_up_mark.after IS 'they hold what resolved later';

CREATE TABLE roll_up_models (
    number           BIGINT NOT NULL PRIMARY KEY,
    model_id         TEXT COLLATE "C" NOT NULL UNIQUE,
    joined_at        TIMESTAMPTZ,
    first_scored_at  TIMESTAMPTZ
);

COMMENT ON TABLE roll_up_models IS 'the models, by the numbers that packed sums call them: from 0, without a gap';
COMMENT ON COLUMN roll_up_models.joined_at IS 'as when its first scored round was looked up';
COMMENT ON COLUMN roll_up_models.first_scored_at IS 'when that round resolved';

CREATE TABLE roll_up_hours (
    hour_end   TIMESTAMPTZ NOT NULL,
    asset      TEXT COLLATE "C" NOT NULL,
    horizon_s  BIGINT NOT NULL,
    sums       BYTEA NOT NULL,
    PRIMARY KEY (hour_end, asset, horizon_s)
);

COMMENT ON COLUMN roll_up_hours.sums IS 'packed: over the rounds that resolved in it';

CREATE TABLE roll_up_rounds (
    round_id     UUID NOT NULL PRIMARY KEY,
    asset        TEXT COLLATE "C" NOT NULL,
    horizon_s    BIGINT NOT NULL,
    resolves_at  TIMESTAMPTZ NOT NULL,
    sums         BYTEA NOT NULL
);

COMMENT ON COLUMN roll_up_rounds.sums IS 'packed: its scores';

CREATE INDEX roll_up_rounds_by_resolution ON roll_up_rounds (resolves_at, round_id);

-- The numbers in them do not compress: no attempt at every row.
ALTER TABLE roll_up_hours ALTER COLUMN sums SET STORAGE EXTERNAL;
ALTER TABLE roll_up_rounds ALTER COLUMN sums SET STORAGE EXTERNAL;
