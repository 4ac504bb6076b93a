// Calls the pg-boss package that is installed beside this file. One JSON request per line on
// stdin, one JSON answer per line on stdout: {"ok": value} or {"error": text}.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as pgboss from 'pg-boss';

// Up to 10 the class is the module itself, from 11 on it is a named export.
const PgBoss = pgboss.PgBoss ?? pgboss.default;
let boss;
let major;

const calls = {
  async start({ url, caFile, version }) {
    major = Number(version.split('.')[0]);
    const database = new URL(url);
    // The package's own reading of sslmode would replace the authority given here.
    database.searchParams.delete('sslmode');
    boss = new PgBoss({
      connectionString: database.toString(),
      ssl: { ca: readFileSync(caFile, 'utf8'), rejectUnauthorized: true },
      max: 2,
      // Nothing may expire, archive or be scheduled behind a test's back. 9 knows other names.
      ...(major === 9
        ? { noSupervisor: true, noScheduling: true }
        : { supervise: false, schedule: false }),
    });
    boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`));
    await boss.start();
  },

  async schemaVersion() {
    if (typeof boss.schemaVersion === 'function') return boss.schemaVersion();
    const { rows } = await executeSql('SELECT max(version) AS version FROM pgboss.version');
    return Number(rows[0].version);
  },

  async createQueue({ queue, options }) {
    if (major > 9) await boss.createQueue(queue, { name: queue, ...options });
  },

  send: ({ queue, data, options }) => boss.send(queue, data, options),

  async insert({ queue, count, data, options }) {
    for (let done = 0; done < count; done += 1000) {
      const length = Math.min(1000, count - done);
      const jobs = Array.from({ length }, () => ({ name: queue, data, ...options }));
      // From 11 on the queue is an argument of its own.
      await (major > 10 ? boss.insert(queue, jobs) : boss.insert(jobs));
    }
  },

  async fetch({ queue, count }) {
    const jobs = await (major === 9
      ? boss.fetch(queue, count)
      : boss.fetch(queue, { batchSize: count }));
    return (jobs ?? []).map((job) => job.id);
  },

  complete: (args) => onJobs('complete', args),
  fail: (args) => onJobs('fail', args),
  retry: (args) => onJobs('retry', args),
  cancel: (args) => onJobs('cancel', args),
  stop: () => boss.stop({ graceful: true, timeout: 5000 }),
};

// pg-boss 9 finds a job by its id alone.
async function onJobs(name, { queue, ids }) {
  if (typeof boss[name] !== 'function') throw new Error(`this version has no ${name}`);
  await (major === 9 ? boss[name](ids) : boss[name](queue, ids));
}

function executeSql(text) {
  return boss.db.executeSql(text, []);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, ...args } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await calls[call](args)) ?? null };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
