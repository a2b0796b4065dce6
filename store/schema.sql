-- The platform as a row of tables, in the order of the path from code to a user's request.
-- Columns named *_json hold a noun of package naru, or of the owning package, as JSON; times are RFC 3339 in UTC.

-- delivery/builder owns: one making of an image.
CREATE TABLE builds (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    state       TEXT NOT NULL,
    build_json  TEXT NOT NULL
) STRICT;
CREATE INDEX builds_by_state ON builds (state);

-- delivery/release owns: config versions, releases (immutable), and how many instances people asked for.
CREATE TABLE configs (
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    version     INTEGER NOT NULL,
    config_json TEXT NOT NULL,
    PRIMARY KEY (app, environment, version)
) STRICT;
CREATE TABLE releases (
    app          TEXT NOT NULL,
    environment  TEXT NOT NULL,
    number       INTEGER NOT NULL,
    release_json TEXT NOT NULL,
    PRIMARY KEY (app, environment, number)
) STRICT;
CREATE TABLE scales (
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    instances   INTEGER NOT NULL,
    PRIMARY KEY (app, environment, service)
) STRICT;

-- delivery/rollout owns: moves of traffic from one release to another. At most one per app and environment is not ended.
CREATE TABLE rollouts (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    app          TEXT NOT NULL,
    environment  TEXT NOT NULL,
    state        TEXT NOT NULL,
    rollout_json TEXT NOT NULL
) STRICT;
CREATE INDEX rollouts_by_app ON rollouts (app, environment, id);
CREATE UNIQUE INDEX rollouts_one_open ON rollouts (app, environment)
    WHERE state NOT IN ('done', 'failed', 'superseded');

-- target/machine owns: the sets wanted here, and who gets traffic. Their instances are containers with labels.
CREATE TABLE sets (
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    key         TEXT NOT NULL,
    set_json    TEXT NOT NULL,
    PRIMARY KEY (app, environment, key)
) STRICT;
CREATE TABLE traffic (
    app          TEXT NOT NULL,
    environment  TEXT NOT NULL,
    traffic_json TEXT NOT NULL,
    PRIMARY KEY (app, environment)
) STRICT;

-- engine owns: networks and containers; it has never heard of apps.
CREATE TABLE networks (
    name         TEXT PRIMARY KEY,
    network_json TEXT NOT NULL
) STRICT;
CREATE TABLE containers (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    container_json TEXT NOT NULL
) STRICT;
