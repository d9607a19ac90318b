-- When the first round resolved that was asked since the model joined and of which it has a score; noted when scores that
-- old begin to go, and until then seen from them.
ALTER TABLE models ADD COLUMN first_scored_at INTEGER;
