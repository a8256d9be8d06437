-- Totals of days may be kept longer than the events that they were made from (rollup_retention_days).
-- kept: 1 = the events are expired or about to be. The build counts whatever `traffic` and `openings` say by now, and is
--   not made again. The row is written a second time, with the same build_id: of two equal ones the later stays.
ALTER TABLE day_builds ${ON_CLUSTER} ADD COLUMN IF NOT EXISTS kept UInt8 DEFAULT 0;
