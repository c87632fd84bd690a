-- For several programs on one database. One that has its SQLite file for itself leaves these empty (its keys are in a file
-- beside it); they are here so that both databases are the same.

-- What they sign and recognise their administrator with.
CREATE TABLE control_plane_secret (
    name    TEXT NOT NULL PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;

-- Each of them, and when it was last there by the clock of the database.
CREATE TABLE replica (
    id      TEXT NOT NULL PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT;

-- Which agents follow their plan there.
CREATE TABLE agent_stream (
    agent_id   TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    replica_id TEXT NOT NULL REFERENCES replica (id) ON DELETE CASCADE,
    PRIMARY KEY (agent_id, replica_id)
) STRICT;

CREATE INDEX agent_stream_replica ON agent_stream (replica_id);
