-- A migration is never edited once it has been released: databases carry its checksum. Changes go into the next number,
-- which is the same for both databases: this is what SQLite has after its number 6.
--
-- Times are microseconds since the Unix epoch. Columns named *_document hold JSON that is read and written as a whole and
-- never searched, also not by Postgres, so they are texts. Texts compare by their bytes, as they do in SQLite: lists are
-- in the same order wherever the server was set up.

CREATE TABLE organization (
    id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE trust_zone (
    id                      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id         TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    name                    TEXT COLLATE "C" NOT NULL UNIQUE,
    trust_domain            TEXT COLLATE "C" NOT NULL UNIQUE,
    bundle_document         TEXT COLLATE "C",
    bundle_endpoint_url     TEXT COLLATE "C",
    bundle_endpoint_profile TEXT COLLATE "C",
    jwt_issuer              TEXT COLLATE "C",
    is_management_zone      BOOLEAN NOT NULL,
    created_at              BIGINT NOT NULL,
    updated_at              BIGINT NOT NULL,
    CHECK ((bundle_endpoint_url IS NULL) = (bundle_endpoint_profile IS NULL))
);

CREATE TABLE cluster (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id     TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    trust_zone_id       TEXT COLLATE "C" NOT NULL REFERENCES trust_zone (id),
    name                TEXT COLLATE "C" NOT NULL,
    profile             TEXT COLLATE "C" NOT NULL,
    kubernetes_context  TEXT COLLATE "C",
    external_server     BOOLEAN NOT NULL,
    oidc_issuer_url     TEXT COLLATE "C",
    oidc_issuer_ca_cert BYTEA,
    trust_provider      BYTEA,
    extra_helm_values   BYTEA,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    UNIQUE (trust_zone_id, name),
    -- What belongs to a cluster names its zone too, and cannot name another one.
    UNIQUE (id, trust_zone_id)
);

CREATE TABLE agent (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    cluster_id        TEXT COLLATE "C" NOT NULL UNIQUE,
    trust_zone_id     TEXT COLLATE "C" NOT NULL,
    status_state      TEXT COLLATE "C",
    status_message    TEXT COLLATE "C",
    status_updated_at BIGINT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    -- Who the agent last proved to be, and when it was last heard of: absent until it has called after it joined.
    spiffe_id         TEXT COLLATE "C",
    last_seen_at      BIGINT,
    -- What the agent says that keeps services of its cluster from working; a part of its status, as a JSON list.
    status_unmet_conditions_document TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    FOREIGN KEY (cluster_id, trust_zone_id) REFERENCES cluster (id, trust_zone_id) ON DELETE CASCADE
);

CREATE TABLE join_token (
    hash          BYTEA NOT NULL PRIMARY KEY,
    trust_zone_id TEXT COLLATE "C" NOT NULL,
    cluster_id    TEXT COLLATE "C" NOT NULL,
    expires_at    BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    UNIQUE (trust_zone_id, cluster_id),
    FOREIGN KEY (cluster_id, trust_zone_id) REFERENCES cluster (id, trust_zone_id) ON DELETE CASCADE
);

CREATE TABLE federation (
    id                   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id      TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    trust_zone_id        TEXT COLLATE "C" NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    remote_trust_zone_id TEXT COLLATE "C" NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    created_at           BIGINT NOT NULL,
    updated_at           BIGINT NOT NULL,
    UNIQUE (trust_zone_id, remote_trust_zone_id),
    CHECK (trust_zone_id <> remote_trust_zone_id)
);

CREATE INDEX federation_remote ON federation (remote_trust_zone_id);

CREATE TABLE attestation_policy (
    id                   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id      TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    name                 TEXT COLLATE "C" NOT NULL UNIQUE,
    kind                 TEXT COLLATE "C" NOT NULL,
    kind_document        TEXT COLLATE "C" NOT NULL,
    ek_hash              TEXT COLLATE "C",
    -- Kept as given: bindings decide, so these two refer to nothing.
    trust_zone_id        TEXT COLLATE "C",
    federations_document TEXT COLLATE "C" NOT NULL,
    created_at           BIGINT NOT NULL,
    updated_at           BIGINT NOT NULL
);

CREATE TABLE attestation_policy_binding (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    trust_zone_id   TEXT COLLATE "C" NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    policy_id       TEXT COLLATE "C" NOT NULL REFERENCES attestation_policy (id),
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    UNIQUE (policy_id, trust_zone_id)
);

CREATE INDEX attestation_policy_binding_zone ON attestation_policy_binding (trust_zone_id);

CREATE TABLE attestation_policy_binding_federation (
    binding_id    TEXT COLLATE "C" NOT NULL REFERENCES attestation_policy_binding (id) ON DELETE CASCADE,
    position      BIGINT NOT NULL,
    trust_zone_id TEXT COLLATE "C" NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    PRIMARY KEY (binding_id, trust_zone_id)
);

CREATE INDEX attestation_policy_binding_federation_zone ON attestation_policy_binding_federation (trust_zone_id);

CREATE TABLE federated_service (
    id                              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name                            TEXT COLLATE "C" NOT NULL,
    namespace                       TEXT COLLATE "C" NOT NULL,
    trust_zone_id                   TEXT COLLATE "C" NOT NULL,
    cluster_id                      TEXT COLLATE "C" NOT NULL,
    cluster_name                    TEXT COLLATE "C" NOT NULL,
    trust_domain                    TEXT COLLATE "C" NOT NULL,
    hostname                        TEXT COLLATE "C" NOT NULL,
    workload_labels_document        TEXT COLLATE "C" NOT NULL,
    exported_trust_domains_document TEXT COLLATE "C" NOT NULL,
    port                            BIGINT NOT NULL,
    tls_mode                        TEXT COLLATE "C" NOT NULL,
    gateway_entries_document        TEXT COLLATE "C" NOT NULL,
    gateway_specs_document          TEXT COLLATE "C" NOT NULL,
    spiffe_id_paths_document        TEXT COLLATE "C" NOT NULL,
    created_at                      BIGINT NOT NULL,
    updated_at                      BIGINT NOT NULL,
    UNIQUE (hostname, cluster_id),
    FOREIGN KEY (cluster_id, trust_zone_id) REFERENCES cluster (id, trust_zone_id) ON DELETE CASCADE
);

CREATE INDEX federated_service_cluster ON federated_service (cluster_id);

CREATE TABLE receipt (
    agent_id      TEXT COLLATE "C" NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    cluster_id    TEXT COLLATE "C" NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
    type_url      TEXT COLLATE "C" NOT NULL,
    resource_name TEXT COLLATE "C" NOT NULL,
    version       TEXT COLLATE "C" NOT NULL,
    -- What the agent said against the resource; absent where it applied it.
    rejection     TEXT COLLATE "C",
    at            BIGINT NOT NULL,
    PRIMARY KEY (agent_id, type_url, resource_name)
);

CREATE INDEX receipt_cluster ON receipt (cluster_id, type_url, resource_name);

CREATE TABLE audit_event (
    sequence       BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             TEXT COLLATE "C" NOT NULL UNIQUE,
    occurred_at    BIGINT NOT NULL,
    kind           TEXT COLLATE "C" NOT NULL,
    message        TEXT COLLATE "C" NOT NULL,
    data           TEXT COLLATE "C" NOT NULL,
    actor          TEXT COLLATE "C" NOT NULL,
    source_ip      TEXT COLLATE "C" NOT NULL,
    outcome        TEXT COLLATE "C" NOT NULL,
    server_version TEXT COLLATE "C" NOT NULL
);

CREATE INDEX audit_event_time ON audit_event (occurred_at, sequence);

CREATE INDEX audit_event_actor ON audit_event (actor, occurred_at, sequence);

-- No foreign key to the objects: an event outlives what it tells about.
CREATE TABLE audit_link (
    event_sequence BIGINT NOT NULL REFERENCES audit_event (sequence) ON DELETE CASCADE,
    position       BIGINT NOT NULL,
    entity_kind    TEXT COLLATE "C" NOT NULL,
    entity_id      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (event_sequence, position)
);

CREATE INDEX audit_link_entity ON audit_link (entity_id, entity_kind);

CREATE TABLE revision (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    value    BIGINT NOT NULL
);

INSERT INTO revision (only_row, value) VALUES (1, 0);

CREATE TABLE change (
    revision        BIGINT NOT NULL PRIMARY KEY,
    change_document TEXT COLLATE "C" NOT NULL
);

-- What several programs on this database sign and recognise their administrator with.
CREATE TABLE control_plane_secret (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    content TEXT COLLATE "C" NOT NULL
);

-- Each of them, and when it was last there by the clock of the database.
CREATE TABLE replica (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);

-- Which agents follow their plan there.
CREATE TABLE agent_stream (
    agent_id   TEXT COLLATE "C" NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    replica_id TEXT COLLATE "C" NOT NULL REFERENCES replica (id) ON DELETE CASCADE,
    PRIMARY KEY (agent_id, replica_id)
);

CREATE INDEX agent_stream_replica ON agent_stream (replica_id);
