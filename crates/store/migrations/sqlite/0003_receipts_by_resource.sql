-- What the agent of a cluster said of one resource is found without reading what it said of the others.

DROP INDEX receipt_cluster;
CREATE INDEX receipt_cluster ON receipt (cluster_id, type_url, resource_name);
