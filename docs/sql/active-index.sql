-- Optional: makes counting active jobs cheap on a large job table.
--
-- pg-boss before 12.38 has no index for it. While the job tables without one are under 128 MB
-- together (about 200,000 rows) the autoscaler reads them whole; beyond that it reports active jobs
-- as unknown, which allows scaling out and forbids scaling in, until this index exists. It holds
-- active jobs only, so it stays at a few pages, and pg-boss ignores indexes it did not make.
-- CONCURRENTLY does not block workers; it cannot run in a transaction. The autoscaler notices the
-- index within five minutes.

-- pg-boss 11 and later: all queues share job_common.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fleet_active ON pgboss.job_common (name, started_on) WHERE state = 'active';

-- pg-boss 11 and later, a queue made with `partition: true` has a table of its own; pg-boss 10
-- gives every queue one. Find each table, then create the index on it; an index on the parent would
-- reach new queues too, but cannot be built concurrently:
--   SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'pgboss.job'::regclass;
--   CREATE INDEX CONCURRENTLY ON pgboss.<table> (name, started_on) WHERE state = 'active';

-- pg-boss 9: one plain table.
--   CREATE INDEX CONCURRENTLY IF NOT EXISTS fleet_active ON pgboss.job (name, startedon)
--     WHERE state = 'active';
