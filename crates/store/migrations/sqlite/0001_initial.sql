-- A migration is never edited once it has been released: databases carry its checksum. Changes go into the next number.
--
-- Times are microseconds since the Unix epoch. Columns named *_document hold JSON that is read and written as a whole and
-- never searched; whatever is searched or must be unique has a column or a table of its own.

CREATE TABLE organization (
    id   TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE trust_zone (
    id                      TEXT NOT NULL PRIMARY KEY,
    organization_id         TEXT NOT NULL REFERENCES organization (id),
    name                    TEXT NOT NULL UNIQUE,
    trust_domain            TEXT NOT NULL UNIQUE,
    bundle_document         TEXT,
    bundle_endpoint_url     TEXT,
    bundle_endpoint_profile TEXT,
    jwt_issuer              TEXT,
    is_management_zone      INTEGER NOT NULL,
    created_at              INTEGER NOT NULL,
    updated_at              INTEGER NOT NULL,
    CHECK ((bundle_endpoint_url IS NULL) = (bundle_endpoint_profile IS NULL))
) STRICT;

CREATE TABLE cluster (
    id                  TEXT NOT NULL PRIMARY KEY,
    organization_id     TEXT NOT NULL REFERENCES organization (id),
    trust_zone_id       TEXT NOT NULL REFERENCES trust_zone (id),
    name                TEXT NOT NULL,
    profile             TEXT NOT NULL,
    kubernetes_context  TEXT,
    external_server     INTEGER NOT NULL,
    oidc_issuer_url     TEXT,
    oidc_issuer_ca_cert BLOB,
    trust_provider      BLOB,
    extra_helm_values   BLOB,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    UNIQUE (trust_zone_id, name),
    -- What belongs to a cluster names its zone too, and cannot name another one.
    UNIQUE (id, trust_zone_id)
) STRICT;

CREATE TABLE agent (
    id                TEXT NOT NULL PRIMARY KEY,
    cluster_id        TEXT NOT NULL UNIQUE,
    trust_zone_id     TEXT NOT NULL,
    status_state      TEXT,
    status_message    TEXT,
    status_updated_at INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    FOREIGN KEY (cluster_id, trust_zone_id) REFERENCES cluster (id, trust_zone_id) ON DELETE CASCADE
) STRICT;

CREATE TABLE join_token (
    hash          BLOB NOT NULL PRIMARY KEY,
    trust_zone_id TEXT NOT NULL,
    cluster_id    TEXT NOT NULL,
    expires_at    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    UNIQUE (trust_zone_id, cluster_id),
    FOREIGN KEY (cluster_id, trust_zone_id) REFERENCES cluster (id, trust_zone_id) ON DELETE CASCADE
) STRICT;

CREATE TABLE federation (
    id                   TEXT NOT NULL PRIMARY KEY,
    organization_id      TEXT NOT NULL REFERENCES organization (id),
    trust_zone_id        TEXT NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    remote_trust_zone_id TEXT NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    UNIQUE (trust_zone_id, remote_trust_zone_id),
    CHECK (trust_zone_id <> remote_trust_zone_id)
) STRICT;

CREATE INDEX federation_remote ON federation (remote_trust_zone_id);

CREATE TABLE attestation_policy (
    id                   TEXT NOT NULL PRIMARY KEY,
    organization_id      TEXT NOT NULL REFERENCES organization (id),
    name                 TEXT NOT NULL UNIQUE,
    kind                 TEXT NOT NULL,
    kind_document        TEXT NOT NULL,
    ek_hash              TEXT,
    -- Kept as given: bindings decide, so these two refer to nothing.
    trust_zone_id        TEXT,
    federations_document TEXT NOT NULL,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL
) STRICT;

CREATE TABLE attestation_policy_binding (
    id              TEXT NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organization (id),
    trust_zone_id   TEXT NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    policy_id       TEXT NOT NULL REFERENCES attestation_policy (id),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (policy_id, trust_zone_id)
) STRICT;

CREATE INDEX attestation_policy_binding_zone ON attestation_policy_binding (trust_zone_id);

CREATE TABLE attestation_policy_binding_federation (
    binding_id    TEXT NOT NULL REFERENCES attestation_policy_binding (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL,
    trust_zone_id TEXT NOT NULL REFERENCES trust_zone (id) ON DELETE CASCADE,
    PRIMARY KEY (binding_id, trust_zone_id)
) STRICT;

CREATE INDEX attestation_policy_binding_federation_zone ON attestation_policy_binding_federation (trust_zone_id);

CREATE TABLE federated_service (
    id                              TEXT NOT NULL PRIMARY KEY,
    name                            TEXT NOT NULL,
    namespace                       TEXT NOT NULL,
    trust_zone_id                   TEXT NOT NULL,
    cluster_id                      TEXT NOT NULL,
    cluster_name                    TEXT NOT NULL,
    trust_domain                    TEXT NOT NULL,
    hostname                        TEXT NOT NULL,
    workload_labels_document        TEXT NOT NULL,
    exported_trust_domains_document TEXT NOT NULL,
    port                            INTEGER NOT NULL,
    tls_mode                        TEXT NOT NULL,
    gateway_entries_document        TEXT NOT NULL,
    gateway_specs_document          TEXT NOT NULL,
    spiffe_id_paths_document        TEXT NOT NULL,
    created_at                      INTEGER NOT NULL,
    updated_at                      INTEGER NOT NULL,
    UNIQUE (hostname, cluster_id),
    FOREIGN KEY (cluster_id, trust_zone_id) REFERENCES cluster (id, trust_zone_id) ON DELETE CASCADE
) STRICT;

CREATE INDEX federated_service_cluster ON federated_service (cluster_id);

CREATE TABLE receipt (
    agent_id      TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    cluster_id    TEXT NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
    type_url      TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    version       TEXT NOT NULL,
    -- What the agent said against the resource; absent where it applied it.
    rejection     TEXT,
    at            INTEGER NOT NULL,
    PRIMARY KEY (agent_id, type_url, resource_name)
) STRICT;

CREATE INDEX receipt_cluster ON receipt (cluster_id);

CREATE TABLE audit_event (
    sequence       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    occurred_at    INTEGER NOT NULL,
    kind           TEXT NOT NULL,
    message        TEXT NOT NULL,
    data           TEXT NOT NULL,
    actor          TEXT NOT NULL,
    source_ip      TEXT NOT NULL,
    outcome        TEXT NOT NULL,
    server_version TEXT NOT NULL
) STRICT;

CREATE INDEX audit_event_time ON audit_event (occurred_at, sequence);

-- No foreign key to the objects: an event outlives what it tells about.
CREATE TABLE audit_link (
    event_sequence INTEGER NOT NULL REFERENCES audit_event (sequence) ON DELETE CASCADE,
    position       INTEGER NOT NULL,
    entity_kind    TEXT NOT NULL,
    entity_id      TEXT NOT NULL,
    PRIMARY KEY (event_sequence, position)
) STRICT;

CREATE INDEX audit_link_entity ON audit_link (entity_id, entity_kind);

CREATE TABLE revision (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    value    INTEGER NOT NULL
) STRICT;

INSERT INTO revision (only_row, value) VALUES (1, 0);

CREATE TABLE change (
    revision        INTEGER NOT NULL PRIMARY KEY,
    change_document TEXT NOT NULL
) STRICT;
