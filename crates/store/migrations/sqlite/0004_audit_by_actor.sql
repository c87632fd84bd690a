-- Which agents fill the log, the oldest of what one of them did, and a listing of one actor, without reading all of it.

CREATE INDEX audit_event_actor ON audit_event (actor, occurred_at, sequence);
