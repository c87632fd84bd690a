-- What the agent says that keeps services of its cluster from working; a part of its status, as a JSON list.

ALTER TABLE agent ADD COLUMN status_unmet_conditions_document TEXT NOT NULL DEFAULT '[]';
