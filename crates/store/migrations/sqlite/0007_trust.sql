-- What the SPIRE server of each cluster holds of other trust domains, as its agent last read it there.
CREATE TABLE bundle_reading (
    cluster_id       TEXT NOT NULL PRIMARY KEY REFERENCES cluster (id) ON DELETE CASCADE,
    read_at          INTEGER NOT NULL,
    bundles_document TEXT NOT NULL
) STRICT;

-- What is remembered of the bundle packages of a trust zone.
CREATE TABLE bundle_package (
    trust_zone_id     TEXT NOT NULL PRIMARY KEY REFERENCES trust_zone (id) ON DELETE CASCADE,
    exported_sequence INTEGER NOT NULL,
    signer_public_key BLOB,
    imported_sequence INTEGER NOT NULL
) STRICT;

-- The patterns by which a binding names the zones that it federates with.
ALTER TABLE attestation_policy_binding ADD COLUMN patterns_document TEXT NOT NULL DEFAULT '[]';

-- Who serves a bundle endpoint, where it is not the SPIRE server of the trust domain.
ALTER TABLE trust_zone ADD COLUMN bundle_endpoint_spiffe_id TEXT;
