// The worker's side of the database: jobs through the real pg-boss, its row of
// gh_worker_registry, the row of gh_automation_jobs for the job it runs.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { say } from './say.mjs';

const GENERAL = 'gh_apply_job';

export class Queue {
  /** Connects, registers and starts the heartbeat; rejects when the worker cannot register. */
  static async start(worker) {
    const queue = new Queue(worker);
    await queue.register();
    await queue.boss.start();
    for (const name of queue.names) {
      // Whoever comes first sets the options: an existing queue keeps its own.
      await queue.boss.createQueue(name, { retryLimit: 0, expireInSeconds: 1800 });
    }
    queue.timer = setInterval(() => queue.heartbeat(), worker.options.heartbeatSeconds * 1000);
    return queue;
  }

  constructor(worker) {
    this.worker = worker;
    const { databaseUrl, databaseCa, workerId } = worker.options;
    const connection = connectionOptions(databaseUrl, databaseCa);
    this.names = [`${GENERAL}/${workerId}`, GENERAL];
    this.pool = new pg.Pool({ ...connection, max: 2 });
    this.boss = new PgBoss({ ...connection, max: 2 });
    // A connection that breaks while it is idle must not end the process.
    for (const source of [this.pool, this.boss]) {
      source.on('error', (error) => process.stderr.write(`worker: ${error.message}\n`));
    }
  }

  async register() {
    const { workerId, instanceId, ip, group } = this.worker.options;
    for (const wait of [2000, 4000, null]) {
      try {
        if (ip !== null) {
          await this.pool.query(
            `UPDATE gh_worker_registry SET status = 'offline'
              WHERE ec2_ip = $1 AND worker_id <> $2 AND status <> 'offline'
                AND last_heartbeat < NOW() - INTERVAL '2 minutes'`,
            [ip, workerId],
          );
        }
        await this.pool.query(
          `INSERT INTO gh_worker_registry
             (worker_id, status, target_worker_id, ec2_instance_id, ec2_ip, metadata)
           VALUES ($1, 'active', $1, $2, $3, $4)
           ON CONFLICT (worker_id) DO UPDATE SET
             status = 'active',
             target_worker_id = COALESCE(EXCLUDED.target_worker_id, gh_worker_registry.target_worker_id),
             ec2_instance_id = EXCLUDED.ec2_instance_id,
             ec2_ip = EXCLUDED.ec2_ip,
             metadata = EXCLUDED.metadata,
             current_job_id = NULL,
             last_heartbeat = NOW()`,
          [workerId, instanceId, ip, JSON.stringify({ asg_name: group })],
        );
        const { rowCount } = await this.pool.query(
          'SELECT 1 FROM gh_worker_registry WHERE worker_id = $1',
          [workerId],
        );
        if (rowCount !== 1) throw new Error('the row of the registry is not there');
        return;
      } catch (error) {
        if (wait === null) throw new Error(`cannot register: ${error.message}`);
        await sleep(wait);
      }
    }
  }

  /** As the old worker: the row says what we think, whatever an operator wrote into it. */
  async heartbeat() {
    try {
      await this.writeStatus();
      await this.pool.query(
        `UPDATE gh_worker_registry SET status = 'offline'
          WHERE worker_id <> $1 AND status = 'active'
            AND last_heartbeat < NOW() - INTERVAL '5 minutes'`,
        [this.worker.options.workerId],
      );
    } catch (error) {
      process.stderr.write(`worker: heartbeat: ${error.message}\n`);
    }
  }

  writeStatus() {
    return this.pool.query(
      `UPDATE gh_worker_registry SET last_heartbeat = NOW(), current_job_id = $2, status = $3
        WHERE worker_id = $1`,
      [
        this.worker.options.workerId,
        this.worker.job?.rowId ?? null,
        this.worker.draining ? 'draining' : 'active',
      ],
    );
  }

  /** Claims and runs one job after the other until the worker stops. */
  async consume() {
    const { worker } = this;
    while (!worker.stopping) {
      try {
        if (await this.claimOne()) continue;
      } catch (error) {
        process.stderr.write(`worker: claim: ${error.message}\n`);
      }
      await sleep(worker.options.pollSeconds * 1000);
    }
  }

  /** Jobs for this worker alone come first. Resolves to whether there was one. */
  async claimOne() {
    const { worker } = this;
    for (const name of this.names) {
      if (!worker.wantsJobs) return false;
      worker.claiming = true;
      let job;
      try {
        [job] = await this.boss.fetch(name, { batchSize: 1 });
        // Set before the claim ends: no reading may fall between the two.
        if (job) worker.job = { id: job.id, rowId: null };
      } finally {
        worker.claiming = false;
      }
      if (!job) continue;
      try {
        await this.runJob(name, job);
      } finally {
        worker.job = null;
      }
      return true;
    }
    return false;
  }

  async runJob(name, { id, data }) {
    const { worker } = this;
    const rowId = data?.ghJobId ?? randomUUID();
    await this.pool.query(
      `INSERT INTO gh_automation_jobs (id, status, worker_id, started_at, last_heartbeat, metadata)
       VALUES ($1, 'running', $2, NOW(), NOW(), $3)
       ON CONFLICT (id) DO UPDATE SET status = 'running', worker_id = EXCLUDED.worker_id,
         started_at = NOW(), last_heartbeat = NOW(),
         metadata = COALESCE(gh_automation_jobs.metadata, '{}') || EXCLUDED.metadata`,
      // VALET notes these when it sends a job.
      [rowId, worker.options.workerId, { pgBossJobId: id, pgBossQueueName: name }],
    );
    // Not earlier: the registry's column refers to that row.
    worker.job.rowId = rowId;
    say('claimed', { job: id, queue: name, seconds: Number(data?.seconds ?? 0) });
    if (!(await worker.run(id, Number(data?.seconds ?? 0)))) {
      // What pg-boss does with the work in progress when it is stopped; the row stays `running`.
      await this.boss.fail(name, id, { message: 'pg-boss shut down while active' });
      return;
    }
    await this.pool.query(
      "UPDATE gh_automation_jobs SET status = 'completed', completed_at = NOW() WHERE id = $1",
      [rowId],
    );
    await this.boss.complete(name, id);
  }

  async stop() {
    clearInterval(this.timer);
    await this.boss.stop({ graceful: true, timeout: 5000 });
    await this.pool.query("UPDATE gh_worker_registry SET status = 'offline' WHERE worker_id = $1", [
      this.worker.options.workerId,
    ]);
    await this.pool.end();
  }
}

/** Without `sslmode`: the driver's own reading of it would replace the authority given here. */
function connectionOptions(databaseUrl, databaseCa) {
  const url = new URL(databaseUrl);
  const mode = url.searchParams.get('sslmode');
  url.searchParams.delete('sslmode');
  if (mode === 'disable') return { connectionString: url.toString(), ssl: false };
  const ca = databaseCa ? readFileSync(databaseCa, 'utf8') : undefined;
  return { connectionString: url.toString(), ssl: { ca, rejectUnauthorized: true } };
}
