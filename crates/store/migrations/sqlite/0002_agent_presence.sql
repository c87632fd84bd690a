-- Who the agent last proved to be, and when it was last heard of: absent until it has called after it joined.

ALTER TABLE agent ADD COLUMN spiffe_id TEXT;
ALTER TABLE agent ADD COLUMN last_seen_at INTEGER;
