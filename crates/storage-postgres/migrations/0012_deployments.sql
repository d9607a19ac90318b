CREATE TABLE deployments (
    model_id       TEXT COLLATE "C" NOT NULL,
    deployment_id  TEXT COLLATE "C" NOT NULL,
    first_seen_at  TIMESTAMPTZ NOT NULL,
    last_seen_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (model_id, deployment_id)
);

COMMENT ON TABLE deployments IS 'the starts of their code that models had, as far as they were seen';
COMMENT ON COLUMN deployments.first_seen_at IS 'connected, as of all that is stored';

CREATE INDEX deployments_by_time ON deployments (model_id, first_seen_at, deployment_id);

-- Of earlier ones nothing was kept.
INSERT INTO deployments SELECT model_id, deployment_id, last_connected_at, last_connected_at FROM models;
