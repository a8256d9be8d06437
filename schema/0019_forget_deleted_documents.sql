-- What was deleted is forgotten: the last version of a deleted saved thing, person, invitation or share link holds no text,
--   and versions before it are merged away. Of rows of the same version the one that was inserted last stays.
INSERT INTO saved (kind, site_id, id, document, deleted, updated_at)
SELECT kind, site_id, id, '', 1, updated_at FROM saved FINAL WHERE deleted = 1 AND document != '';

INSERT INTO people (kind, id, document, deleted, updated_at)
SELECT kind, id, '', 1, updated_at FROM people FINAL WHERE deleted = 1 AND document != '';

OPTIMIZE TABLE saved ${ON_CLUSTER} FINAL;

OPTIMIZE TABLE people ${ON_CLUSTER} FINAL;
