// What the fleet is like: notices, numbers, decisions and the table of workers.

const SOURCES = {
  group: 'The Auto Scaling group',
  queue: 'The queue',
  active_jobs: 'Running jobs',
  workers: 'The worker registry',
  memory: 'The scaling function’s memory',
  versions: 'What the hosts run',
  stable: 'The stable version',
};

function drawNotices(status, failure) {
  const notices = [];
  const add = (kind, title, text) => notices.push([kind, title, text]);
  if (failure)
    add(
      'bad',
      'Old data.',
      `What is shown below is from ${moment(Date.parse(status.at))}: ${failure}.`,
    );
  if (!status.enabled)
    add('warn', 'Scaling is off.', 'AUTOSCALE_ASG_ENABLED is false: nobody adds or ends workers.');
  else if (status.dry_run)
    add('warn', 'Dry run.', 'The scaling function decides and changes nothing.');
  const capacity = status.capacity;
  if (capacity?.paused)
    add(
      'warn',
      'Paused.',
      `Somebody paused scaling until ${moment(Date.parse(capacity.paused.until))}. Nothing is added or ended.`,
    );
  if (capacity?.floor)
    add(
      '',
      'Floor.',
      `At least ${plural(capacity.floor.workers, 'worker')} until ${moment(Date.parse(capacity.floor.until))}.`,
    );
  for (const problem of capacity?.problems ?? [])
    add(
      'warn',
      'Unreadable tag.',
      `${problem}. No worker is ended until it is corrected or removed.`,
    );
  if (capacity && capacity.max === null) {
    const { configured: c, own: o } = capacity;
    add(
      'bad',
      'Bounds in conflict.',
      `The settings allow ${c.min} to ${c.max}, the group ${o.min} to ${o.max}. Nothing is changed until they have a number in common.`,
    );
  }
  if (capacity?.suspended.length)
    add(
      'warn',
      'Suspended.',
      `The group’s processes ${capacity.suspended.join(', ')} are suspended.`,
    );
  for (const [omitted, what] of [
    [status.instances_omitted, 'instances'],
    [status.workers_omitted, 'rows of workers'],
    [status.queue?.targeted_omitted, 'queues of single workers'],
  ])
    if (omitted) add('', 'Not all listed.', `${omitted} more ${what} are counted but not listed.`);
  if (status.queue && !status.queue.schema_tested)
    add(
      'warn',
      'New pg-boss.',
      `Schema ${status.queue.schema_version} is newer than this version knows. Workers are added and none is ended.`,
    );
  const absent = status.unavailable.filter(
    (one) => one.cause === 'missing' || one.cause === 'not_asked',
  );
  for (const { source, reason } of status.unavailable) {
    const down = !absent.some((one) => one.source === source);
    add(
      down ? 'bad' : 'warn',
      `${SOURCES[source] ?? source} ${down ? 'is down.' : 'is unknown.'}`,
      reason,
    );
  }
  draw($('notices'), notices, () =>
    notices.map(([kind, title, text]) =>
      h('p', { class: `notice ${kind}` }, h('b', {}, title), h('span', {}, text)),
    ),
  );
}

function drawSummary(status) {
  const { queue, capacity, workers, versions, cost } = status;
  const count = (state) => workers.filter((worker) => worker.state === state).length;
  const tile = (name, value, ...more) =>
    h(
      'div',
      {},
      h('dt', {}, name),
      h('dd', {}, value),
      more.length > 0 && h('dd', { class: 'more' }, more),
    );
  const parts = (...words) => words.filter(Boolean).join(' · ');
  const data = [queue, capacity, workers?.map((worker) => worker.state), versions, cost];
  draw($('summary'), data, () => {
    const drift =
      versions.drifted > 0 && h('span', { class: 'flag' }, `${versions.drifted} drifted`);
    const version = h(
      'div',
      {},
      h('dt', {}, 'Version'),
      h(
        'dd',
        { class: 'text mono', title: versions.stable?.image_tag },
        versions.stable
          ? versions.stable.image_tag
          : h(
              'span',
              { class: 'unknown' },
              status.unavailable.some((one) => one.source === 'stable') ? 'unknown' : 'none yet',
            ),
      ),
      h(
        'dd',
        { class: 'more' },
        drift,
        drift && versions.unknown > 0 ? ' · ' : null,
        versions.unknown > 0 && `${versions.unknown} unproven`,
        versions.drifted === 0 && versions.unknown === 0 && 'on every host',
      ),
    );
    return [
      tile(
        'Jobs ready',
        orUnknown(queue?.ready),
        queue &&
          parts(
            queue.ready > 0 && `oldest waits ${span(queue.oldest_wait_s * 1000)}`,
            queue.due_soon > 0 && `${queue.due_soon} due soon`,
            queue.deferred > 0 && `${queue.deferred} later`,
          ),
      ),
      tile(
        'Jobs running',
        orUnknown(queue?.active),
        queue &&
          parts(
            queue.expired > 0 &&
              `${queue.expired} past ${queue.expired === 1 ? 'its' : 'their'} time`,
          ),
      ),
      tile(
        'Workers',
        workers ? String(count('idle') + count('busy')) : unknown(),
        workers &&
          parts(
            `${count('busy')} busy`,
            `${count('idle')} idle`,
            count('draining') > 0 && `${count('draining')} draining`,
            count('silent') > 0 && `${count('silent')} silent`,
          ),
      ),
      tile(
        'Desired capacity',
        capacity
          ? [
              String(capacity.desired),
              h('small', {}, ` of ${capacity.min ?? '?'} to ${capacity.max ?? '?'}`),
            ]
          : unknown(),
        capacity &&
          parts(
            `${capacity.in_service} in service`,
            capacity.pending > 0 && `${capacity.pending} booting`,
            capacity.draining > 0 && `${capacity.draining} leaving`,
            capacity.other > 0 && `${capacity.other} other`,
          ),
      ),
      version,
      tile(
        'Cost',
        cost ? [money(cost.hour_micros), h('small', {}, ' an hour')] : unknown(),
        cost && `${money(cost.month_micros)} a month · ${money(cost.month_at_max_micros)} at most`,
      ),
    ];
  });
}

function drawDecisions(status) {
  draw($('decisions'), status.decisions, () => {
    if (!status.decisions) return h('li', {}, unknown());
    if (status.decisions.length === 0) return h('li', { class: 'soft' }, 'None yet.');
    return status.decisions.map((decision) => {
      const { from, to, failed } = decision;
      const same = from === to || failed;
      const kind = same ? 'same' : to > from ? 'up' : 'down';
      return h(
        'li',
        {},
        ago(decision.at, ''),
        h(
          'span',
          { class: `change ${kind}` },
          same ? `stays ${from ?? '?'}` : `${from ?? '?'} → ${to ?? '?'}`,
        ),
        h(
          'span',
          { class: 'why' },
          failed && h('span', { class: 'flag' }, `${from} → ${to} failed. `),
          decision.because,
        ),
      );
    });
  });
}

// --- Workers -------------------------------------------------------------------------------------

const COLUMNS = [
  ['', 'pick'],
  ['Instance', 'who'],
  ['State', 'state'],
  ['Job', 'job'],
  ['Version', 'version'],
  ['Age', 'born'],
  ['Heartbeat', 'seen'],
];
const STATES = {
  idle: ['Idle', 'calm', 'It reports and has no job'],
  busy: ['Busy', 'busy', 'It has a job'],
  draining: ['Draining', 'warn', 'It takes no more work'],
  offline: ['Offline', 'calm', 'It said that it ends'],
  silent: ['Silent', 'bad', 'No report for 90 s: what it does is unknown'],
  unknown: ['Unknown', 'bad', 'It reports a state that this version does not know'],
};
const selected = new Set();
const rows = new Map();

/** Instances with their workers, and workers of no instance of the group. */
function machines(status) {
  const left = [...(status.workers ?? [])];
  const take = (id) =>
    left.splice(0).filter((worker) => worker.instance_id === id || !left.push(worker));
  const ours = (status.instances ?? []).map((instance) => ({
    id: instance.instance_id,
    instance,
    workers: take(instance.instance_id),
  }));
  return ours.concat(
    left.map((worker) => ({
      id: worker.instance_id ?? worker.worker_id,
      instance: null,
      workers: [worker],
    })),
  );
}

/** What needs a look comes first. */
function urgency({ instance }, pills) {
  const kinds = pills.map(([, kind]) => kind);
  if (kinds.includes('bad')) return 0;
  return kinds.includes('warn') || instance?.drift ? 1 : 2;
}

function statePills({ instance, workers }, status) {
  const pills = [];
  const lifecycle = instance?.lifecycle ?? '';
  if (lifecycle.startsWith('Terminat')) pills.push(['Leaving', 'warn', lifecycle]);
  else if (lifecycle.startsWith('Pending')) pills.push(['Booting', 'calm', lifecycle]);
  else if (instance && lifecycle !== 'InService')
    pills.push([lifecycle, 'calm', 'The group’s own state of it']);
  if (!instance && status.instances)
    pills.push(['Elsewhere', 'calm', 'Its machine is not in the group']);
  if (instance && !instance.healthy) pills.push(['Unhealthy', 'bad', 'The group replaces it']);
  for (const worker of workers) pills.push(STATES[worker.state] ?? STATES.unknown);
  if (workers.length === 0 && lifecycle === 'InService')
    pills.push(
      status.workers
        ? ['No worker', 'bad', 'No worker of it has reported within an hour']
        : ['Unknown', 'calm', 'The worker registry could not be read'],
    );
  if (instance?.protected) pills.push(['Protected', 'calm', 'Protected from scale-in']);
  return pills;
}

function versionCell(instance) {
  if (!instance) return unknown();
  if (instance.version === null)
    return h(
      'span',
      {
        class: 'unknown',
        title: instance.unproven ?? 'The host has not proved which version it runs',
      },
      'unproven',
    );
  const proven = instance.proven_at && `Proved ${moment(Date.parse(instance.proven_at))}`;
  return [
    h('span', { class: 'mono', title: proven }, instance.version),
    instance.drift === true && pill('Drift', 'warn', 'Not the stable version'),
  ];
}

function fillRow(row, machine, pills) {
  const { id, instance, workers } = machine;
  const worker = workers[0];
  const jobs = workers.map((one) => one.job_id).filter(Boolean);
  const job = jobs.length
    ? jobs.map((one) => h('span', { class: 'mono', title: one }, one.slice(0, 8)))
    : workers.some((one) => one.state === 'busy')
      ? 'yes'
      : null;
  const other =
    worker && worker.worker_id !== id && h('span', { class: 'soft' }, ` ${worker.worker_id}`);
  const box =
    instance &&
    h('input', {
      type: 'checkbox',
      'aria-label': `Select ${id}`,
      checked: selected.has(id),
      id: `pick-${id}`,
      onchange: (event) => {
        if (event.target.checked) selected.add(id);
        else selected.delete(id);
        drawSelection();
      },
    });
  const cells = [
    box,
    [h('span', { class: 'mono' }, id), other],
    pills.map((one) => pill(...one)),
    job,
    versionCell(instance),
    worker?.registered_at ? ago(worker.registered_at, '') : null,
    worker ? ago(worker.heartbeat_at) : null,
  ];
  const had = document.activeElement?.id;
  row.replaceChildren(
    ...COLUMNS.map(([label, kind], i) =>
      h('td', { role: 'cell', class: kind, 'data-label': label }, cells[i]),
    ),
  );
  if (had === `pick-${id}`) $(had)?.focus();
}

function drawWorkers(status) {
  const body = $('workers');
  const all = machines(status).map((machine) => ({ machine, pills: statePills(machine, status) }));
  all.sort((a, b) => urgency(a.machine, a.pills) - urgency(b.machine, b.pills));
  const wanted = new Set(all.map(({ machine }) => machine.id));
  for (const [id, { row }] of rows)
    if (!wanted.has(id)) {
      row.remove();
      rows.delete(id);
      selected.delete(id);
    }
  all.forEach(({ machine, pills }, i) => {
    const key = JSON.stringify([machine, pills]);
    let known = rows.get(machine.id);
    if (!known) {
      known = { row: h('tr', { role: 'row' }), key: '' };
      rows.set(machine.id, known);
    }
    if (known.key !== key) {
      fillRow(known.row, machine, pills);
      Object.assign(known, {
        key,
        text: `${known.row.textContent} ${pills.map((one) => one[2]).join(' ')}`.toLowerCase(),
      });
    }
    if (body.children[i] !== known.row) body.insertBefore(known.row, body.children[i] ?? null);
  });
  filterWorkers(status);
  drawSelection();
}

function filterWorkers(status) {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { row, text } of rows.values()) {
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  const note =
    !status.instances && !status.workers
      ? 'Which workers there are is unknown.'
      : rows.size === 0
        ? 'There is no worker.'
        : words.length
          ? `${shown} of ${rows.size} shown.`
          : `${rows.size} in all.`;
  $('workers-note').textContent = note;
}

function drawSelection() {
  const button = $('drain');
  button.textContent = selected.size ? `Drain ${selected.size} selected…` : 'Drain selected…';
  button.disabled = selected.size === 0 || !mayChange();
}
