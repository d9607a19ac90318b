-- The starts of their code that models had, as far as they were seen.
CREATE TABLE deployments (
    model_id       TEXT NOT NULL,
    deployment_id  TEXT NOT NULL,
    first_seen_at  INTEGER NOT NULL,               -- connected, as of all that is stored
    last_seen_at   INTEGER NOT NULL,
    PRIMARY KEY (model_id, deployment_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX deployments_by_time ON deployments (model_id, first_seen_at, deployment_id);

-- Of earlier ones nothing was kept.
INSERT INTO deployments SELECT model_id, deployment_id, last_connected_at, last_connected_at FROM models;
