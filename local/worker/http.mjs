// The worker's HTTP interface. The first three routes answer exactly as the old worker does; what
// only a worker with the full contract says is added under `full`.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { say } from './say.mjs';

/** Starts to listen and returns the server. */
export function serve(worker, queue) {
  const server = createServer(async (request, response) => {
    const [status, body] = await answer(worker, queue, request);
    response.writeHead(status, { 'Content-Type': 'application/json;charset=utf-8' });
    response.end(JSON.stringify(body));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(worker.options.port, worker.options.host, () => resolve(server));
  });
}

/**
 * Why a request to drain or resume is refused: a web page that this machine's browser visits can
 * send it as well. A browser names the origin of such a request, and cannot set the header without
 * a preflight.
 */
function refusal({ headers }) {
  for (const name of ['origin', 'sec-fetch-site']) {
    if (headers[name] !== undefined) return `a request with ${name} comes from a web page`;
  }
  if (headers['x-ghosthands-control'] === undefined) {
    return 'the header X-GhostHands-Control is missing';
  }
  return null;
}

async function answer(worker, queue, request) {
  const { full, workerId } = worker.options;
  if (full && /^\/worker\/(drain|resume)(\?|$)/.test(request.url) && request.method === 'POST') {
    const error = refusal(request);
    if (error !== null) return [403, { error }];
  }
  switch (`${request.method} ${request.url.split('?')[0]}`) {
    case 'GET /worker/status':
      return [200, status(worker)];
    case 'GET /worker/health': {
      const state = worker.draining ? 'draining' : worker.activeJobs > 0 ? 'busy' : 'idle';
      return [
        state === 'idle' ? 200 : 503,
        {
          status: state,
          active_jobs: worker.activeJobs,
          deploy_safe: state === 'idle',
          ...contract(worker),
        },
      ];
    }
    case 'POST /worker/drain':
      await setDraining(worker, queue, true);
      return [
        200,
        {
          status: 'draining',
          active_jobs: worker.activeJobs,
          worker_id: workerId,
          ...contract(worker),
        },
      ];
    case 'POST /worker/resume':
      if (!full) break;
      await setDraining(worker, queue, false);
      return [
        200,
        {
          status: 'active',
          active_jobs: worker.activeJobs,
          worker_id: workerId,
          ...contract(worker),
        },
      ];
    case 'POST /standin/job':
      if (queue !== null) break;
      return startJob(worker, await readBody(request));
  }
  return [404, { error: 'not_found' }];
}

function status(worker) {
  const { options } = worker;
  return {
    worker_id: options.workerId,
    ec2_instance_id: options.instanceId,
    ec2_ip: options.ip,
    active_jobs: worker.activeJobs,
    max_concurrent: 1,
    is_running: !worker.stopping,
    is_draining: worker.draining,
    dispatch_mode: 'queue',
    asg_name: options.group,
    uptime_ms: Date.now() - worker.startedAt,
    timestamp: new Date().toISOString(),
    ...contract(worker),
  };
}

/** A claim that is under way may still bring a job, so until it ends the door is not shut. */
function contract(worker) {
  if (!worker.options.full) return {};
  return {
    accepting: worker.wantsJobs || worker.claiming,
    deploy_id: worker.options.deployId,
    image_tag: worker.options.imageTag,
  };
}

async function setDraining(worker, queue, draining) {
  const changed = worker.draining !== draining;
  worker.draining = draining;
  if (!changed) return;
  say(draining ? 'draining' : 'resumed', { active_jobs: worker.activeJobs });
  await queue?.writeStatus();
}

async function readBody(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function startJob(worker, body) {
  const seconds = body?.seconds;
  if (typeof seconds !== 'number' || !(seconds >= 0)) {
    return [400, { error: 'the body must be {"seconds": n} with n of at least 0' }];
  }
  if (worker.job !== null) return [409, { error: 'busy' }];
  if (!worker.wantsJobs) return [409, { error: 'not accepting' }];
  const job = randomUUID();
  say('claimed', { job, seconds });
  worker.job = { id: job, rowId: null };
  worker.run(job, seconds).then(() => {
    worker.job = null;
  });
  return [202, { job }];
}
