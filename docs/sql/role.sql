-- A role for the autoscaler that can count jobs and cannot read them.
--
-- Run as the owner of pg-boss's schema, once; choose a password of your own and put the role's URL
-- into the secret that DATABASE_SECRET_ID names. pgboss.job is granted column by column: `data`
-- (what the applicants sent) and `output` stay out of reach. On partitioned versions the grant on
-- the parent is enough. After an upgrade of pg-boss across one of the versions below, run the
-- matching part again.

CREATE ROLE fleet_reader LOGIN PASSWORD 'change-me' CONNECTION LIMIT 5;

GRANT USAGE ON SCHEMA pgboss TO fleet_reader;
GRANT SELECT (version) ON pgboss.version TO fleet_reader;

-- pg-boss 9 (schema 20)
--   GRANT SELECT (id, name, state, startafter, startedon, expirein) ON pgboss.job TO fleet_reader;
--   GRANT SELECT (name) ON pgboss.archive TO fleet_reader;
-- pg-boss 10 (schemas 21 to 24)
--   GRANT SELECT (id, name, state, start_after, started_on, expire_in, policy, singleton_key)
--     ON pgboss.job TO fleet_reader;
--   GRANT SELECT (name, policy) ON pgboss.queue TO fleet_reader;
-- pg-boss 11 and later (schemas 25 to 46)
GRANT SELECT (id, name, state, start_after, started_on, expire_seconds, policy, singleton_key)
    ON pgboss.job TO fleet_reader;
GRANT SELECT (name, policy) ON pgboss.queue TO fleet_reader;
-- pg-boss 12.6 and later (schema 27 on) has groups; read only with PGBOSS_GROUP_CONCURRENCY
--   GRANT SELECT (group_id) ON pgboss.job TO fleet_reader;
-- pg-boss 12.12 and later (schema 30 on) keeps heartbeats
GRANT SELECT (heartbeat_on, heartbeat_seconds) ON pgboss.job TO fleet_reader;
-- pg-boss 12.19 and later (schema 31 on) has jobs that wait for others
--   GRANT SELECT (blocked) ON pgboss.job TO fleet_reader;

-- The passport of a job (`ghfleet job ID`, GET /api/v1/admin/jobs/ID) also tells when it was sent
-- and ended, and its retries. What it may not read it names as missing.
-- pg-boss 9
--   GRANT SELECT (createdon, completedon, retrycount, retrylimit, retrydelay, retrybackoff)
--     ON pgboss.job TO fleet_reader;
--   GRANT SELECT (id, state, createdon, startafter, startedon, completedon, expirein, retrycount,
--                 retrylimit, retrydelay, retrybackoff) ON pgboss.archive TO fleet_reader;
-- pg-boss 10 and later
GRANT SELECT (created_on, completed_on, retry_count, retry_limit, retry_delay, retry_backoff)
    ON pgboss.job TO fleet_reader;
-- pg-boss 10
--   GRANT SELECT (id, name, state, created_on, start_after, started_on, completed_on, expire_in,
--                 retry_count, retry_limit, retry_delay, retry_backoff)
--     ON pgboss.archive TO fleet_reader;

-- The worker registry: who is there, who has a job. `registered_at` is for the dashboard, which
-- shows no age without it; in `metadata` a worker says whether it takes jobs.
GRANT SELECT (worker_id, target_worker_id, ec2_instance_id, status, current_job_id, last_heartbeat,
              registered_at, metadata)
    ON public.gh_worker_registry TO fleet_reader;

-- How jobs end, by worker: needed where versions are judged by their jobs (RolloutBakeSeconds,
-- RolloutWatchSeconds). What is in a job stays out of reach.
--   GRANT SELECT (worker_id, status, started_at) ON public.gh_automation_jobs TO fleet_reader;
--   CREATE INDEX CONCURRENTLY IF NOT EXISTS gh_automation_jobs_started_at
--     ON public.gh_automation_jobs (started_at);

-- What the application knows of a job, for its passport: who took it, and how it went. In
-- `metadata` VALET notes pg-boss's id of the job; nothing else in it is read. Without it a job is
-- found by the application's id only where that is pg-boss's too.
--   GRANT SELECT (id, worker_id, status, created_at, started_at, completed_at, metadata)
--     ON public.gh_automation_jobs TO fleet_reader;

-- Then run row-security.sql: where a table has row-level security, a grant alone shows no rows.
