//! The tables the workers keep beside the queue, as the application's migrations create them.

use crate::Error;
use crate::postgres::{APP_ROLE, Postgres};

/// `gh_automation_jobs` has many more columns on a real site; these are the ones that a worker's
/// registration and a claim touch, the key that the registry refers to, and where VALET notes
/// pg-boss's id.
const TABLES: &str = "
CREATE TABLE gh_automation_jobs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    status TEXT NOT NULL DEFAULT 'pending',
    worker_id VARCHAR(100),
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    last_heartbeat TIMESTAMPTZ,
    metadata JSONB DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX ON gh_automation_jobs (started_at);
CREATE TABLE gh_worker_registry (
    worker_id TEXT PRIMARY KEY,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'draining', 'offline')),
    target_worker_id TEXT,
    ec2_instance_id TEXT,
    ec2_ip TEXT,
    current_job_id UUID REFERENCES gh_automation_jobs(id),
    registered_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    last_heartbeat TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    jobs_completed INTEGER NOT NULL DEFAULT 0,
    jobs_failed INTEGER NOT NULL DEFAULT 0,
    metadata JSONB DEFAULT '{}'
);
CREATE INDEX ON gh_worker_registry (status);
CREATE INDEX ON gh_worker_registry (target_worker_id);
";

/// Creates the tables in `database`, owned by the application's role.
///
/// # Errors
/// What Postgres answered.
pub fn install(server: &Postgres, database: &str) -> Result<(), Error> {
    server.execute(database, &format!("SET ROLE {APP_ROLE}; {TABLES} RESET ROLE"))
}

/// Creates a role that may read what the fleet reads and no more: counts and times of jobs, never
/// their payloads or results. The schema `pgboss` must exist.
///
/// # Errors
/// What Postgres answered.
pub fn create_reader(
    server: &Postgres,
    database: &str,
    role: &str,
    password: &str,
) -> Result<(), Error> {
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{password}';
         GRANT USAGE ON SCHEMA pgboss TO {role};
         GRANT SELECT ON pgboss.version, gh_worker_registry, gh_automation_jobs TO {role};
         DO $$ BEGIN
             EXECUTE (SELECT format('GRANT SELECT (%s) ON pgboss.job TO {role}',
                                    string_agg(quote_ident(attname), ', '))
                        FROM pg_attribute
                       WHERE attrelid = 'pgboss.job'::regclass AND attnum > 0
                         AND NOT attisdropped AND attname NOT IN ('data', 'output'));
             IF to_regclass('pgboss.queue') IS NOT NULL THEN
                 GRANT SELECT ON pgboss.queue TO {role};
             END IF;
         END $$"
    );
    server.execute(database, &grants)
}
