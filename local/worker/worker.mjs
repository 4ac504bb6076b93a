// A stand-in for the browser worker: it claims and runs real pg-boss jobs, keeps its row of
// gh_worker_registry and answers HTTP as the old worker does, mistakes included. A "job" only
// waits for `data.seconds`. What happens is printed as one JSON object per line.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { serve } from './http.mjs';
import { say } from './say.mjs';

const USAGE = `usage: node worker.mjs [options]
  --worker-id ID           default: GH_WORKER_ID
  --port N                 default: GH_WORKER_PORT, else 3101; 0 takes a free one
  --host ADDRESS           default: 127.0.0.1
  --contract old|full      full also answers "accepting", takes /worker/resume, stops claiming
                           on drain, echoes GHOSTHANDS_DEPLOY_ID and says its IMAGE_TAG;
                           default: old
  --heartbeat-seconds N    default: 30
  --poll-seconds N         default: 2
  --no-queue               no database; POST /standin/job {"seconds": n} starts a job
With a queue it needs DATABASE_URL and, for a private authority, DATABASE_CA (a file). It reads
EC2_INSTANCE_ID, EC2_IP and AWS_ASG_NAME.
`;

function fail(message) {
  process.stderr.write(`worker: ${message}\n${USAGE}`);
  process.exit(64);
}

function number(name, text, least) {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < least) {
    fail(`--${name} must be a number of at least ${least}, not "${text}"`);
  }
  return value;
}

function readOptions(env) {
  let values;
  try {
    values = parseArgs({
      options: {
        'worker-id': { type: 'string', default: env.GH_WORKER_ID ?? '' },
        port: { type: 'string', default: env.GH_WORKER_PORT ?? '3101' },
        host: { type: 'string', default: '127.0.0.1' },
        contract: { type: 'string', default: 'old' },
        'heartbeat-seconds': { type: 'string', default: '30' },
        'poll-seconds': { type: 'string', default: '2' },
        'no-queue': { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    fail(error.message);
  }
  if (!['old', 'full'].includes(values.contract)) fail('--contract must be old or full');
  if (values['worker-id'] === '') fail('--worker-id or GH_WORKER_ID is required');
  if (!values['no-queue'] && !env.DATABASE_URL) fail('DATABASE_URL is required without --no-queue');
  return {
    workerId: values['worker-id'],
    port: number('port', values.port, 0),
    host: values.host,
    full: values.contract === 'full',
    heartbeatSeconds: number('heartbeat-seconds', values['heartbeat-seconds'], 0.1),
    pollSeconds: number('poll-seconds', values['poll-seconds'], 0.05),
    queue: !values['no-queue'],
    instanceId: env.EC2_INSTANCE_ID ?? null,
    ip: env.EC2_IP ?? null,
    group: env.AWS_ASG_NAME ?? null,
    deployId: env.GHOSTHANDS_DEPLOY_ID ?? null,
    imageTag: env.IMAGE_TAG ?? null,
    databaseUrl: env.DATABASE_URL,
    databaseCa: env.DATABASE_CA,
  };
}

/** What the worker is doing; the HTTP answers, the heartbeat and the claims all read it. */
class Worker {
  constructor(options) {
    this.options = options;
    this.startedAt = Date.now();
    this.draining = false;
    this.stopping = false;
    /** A claim is under way: it may still bring a job. */
    this.claiming = false;
    /** `{ id, rowId }` while a job runs; there is never more than one. */
    this.job = null;
    this.end = new AbortController();
  }

  get activeJobs() {
    return this.job === null ? 0 : 1;
  }

  /** May a further job begin? The old worker claims on after a drain: its flag has no reader. */
  get wantsJobs() {
    return !this.stopping && !(this.options.full && this.draining);
  }

  /** Runs one job: true at its end, false when the worker had to go first. */
  async run(id, seconds) {
    const { signal } = this.end;
    const whole = await sleep(seconds * 1000, true, { signal }).catch(() => false);
    say(whole ? 'finished' : 'interrupted', { job: id });
    return whole;
  }
}

const worker = new Worker(readOptions(process.env));
let queue = null;
if (worker.options.queue) {
  // Only here: without a queue neither package needs to be installed.
  const { Queue } = await import('./queue.mjs');
  queue = await Queue.start(worker).catch((error) => {
    process.stderr.write(`worker: ${error.message}\n`);
    process.exit(1);
  });
}
const server = await serve(worker, queue);
say('listening', { worker_id: worker.options.workerId, port: server.address().port });
queue?.consume();

/** As the old worker: at most ten seconds for the job, then it is given up. */
async function shutdown() {
  if (worker.stopping) return;
  worker.stopping = true;
  const limit = setTimeout(() => worker.end.abort(), 10_000);
  while (worker.job !== null || worker.claiming) await sleep(20);
  clearTimeout(limit);
  await queue?.stop();
  say('stopped', { worker_id: worker.options.workerId });
  process.exit(0);
}
process.on('SIGTERM', shutdown);
process.on('SIGINT', shutdown);
