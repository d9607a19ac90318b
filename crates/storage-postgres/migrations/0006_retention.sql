ALTER TABLE models ADD COLUMN first_scored_at TIMESTAMPTZ;

COMMENT ON COLUMN models.first_scored_at IS
    'when the first round resolved that was asked since it joined and of which it has a score; noted when scores that old '
    'begin to go, and until then seen from them';

-- From now on these tables are partitioned by the day in which the round was asked. A round's id begins with the
-- milliseconds of that instant since the unix epoch, so that a bound between days is a bound between ids, and keys and
-- queries stay what they are. The program makes partitions ahead of time; what has none lies in the default one.
--
-- What is stored so far becomes the first partition as it is, up to the end of the day of its newest round, and goes as a
-- whole when that is old enough. It is read once, without its answers, for PostgreSQL to see that no row lies outside.
DO $$
DECLARE
    day_ms CONSTANT BIGINT := 24 * 60 * 60 * 1000;
    name TEXT;
    newest UUID;
    newest_ms BIGINT;
    bound UUID;
BEGIN
    FOREACH name IN ARRAY ARRAY['predictions', 'refused_answers', 'scores'] LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', name, name || '_before');
        EXECUTE format('ALTER INDEX %I RENAME TO %I', name || '_pkey', name || '_before_pkey');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (round_id)', name, name || '_before');
        EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', name || '_default', name);
        EXECUTE format('SELECT round_id FROM %I ORDER BY round_id DESC LIMIT 1', name || '_before') INTO newest;
        IF newest IS NULL THEN
            EXECUTE format('DROP TABLE %I', name || '_before');
        ELSE
            newest_ms := ('x' || left(replace(newest::text, '-', ''), 12))::bit(48)::bigint;
            bound := (lpad(to_hex((newest_ms / day_ms + 1) * day_ms), 12, '0') || repeat('0', 20))::uuid;
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                           name, name || '_before', bound);
        END IF;
    END LOOP;
END
$$;

COMMENT ON TABLE predictions IS 'the outcome of each model in each round; partitioned by the day of the round';
COMMENT ON TABLE refused_answers IS
    'what was refused of bad answers; apart, because it is kept for a week only; partitioned by the day of the round';
COMMENT ON TABLE scores IS 'the score of each prediction; partitioned by the day of the round';
