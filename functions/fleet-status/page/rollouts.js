// Deployments and the other orders to all hosts: the list, and one of them host by host as it goes.

const ROLLOUTS = '/api/v1/admin/deployments';
const KINDS = {
  deploy: 'Deploy',
  rollback: 'Roll back',
  cleanup: 'Clean up',
  'refresh-secrets': 'Refresh secrets',
  drain: 'Drain',
};
const ROLLOUT_STATES = {
  in_progress: ['In progress', 'busy live'],
  succeeded: ['Succeeded', 'good'],
  partial: ['Partial', 'warn'],
  failed: ['Failed', 'bad'],
  rolled_back: ['Rolled back', 'warn'],
  cancelled: ['Cancelled', 'calm'],
};
const HOST_STATES = {
  pending: ['Not yet', 'calm'],
  waiting: ['Waiting for its job', 'busy'],
  in_progress: ['In progress', 'busy'],
  succeeded: ['Done', 'good'],
  already_current: ['Already current', 'good'],
  rolled_back: ['Rolled back', 'warn'],
  failed_down: ['Down', 'bad'],
  refused: ['Refused', 'warn'],
  busy: ['Busy', 'warn'],
  at_limit: ['At the job limit', 'warn'],
  timed_out: ['Timed out', 'bad'],
  unreachable: ['Unreachable', 'bad'],
  not_started: ['Not started', 'calm'],
  cancelled: ['Cancelled', 'calm'],
  terminated: ['Terminated', 'calm'],
};
const ORDER = [
  'succeeded',
  'already_current',
  'in_progress',
  'waiting',
  'rolled_back',
  'failed_down',
  'refused',
  'busy',
  'at_limit',
  'timed_out',
  'unreachable',
  'terminated',
  'cancelled',
  'not_started',
  'pending',
];
const rolling = { list: null, problem: null, shown: null, chosen: null };

const title = (one) => `${KINDS[one.kind] ?? one.kind}${one.image_tag ? ` ${one.image_tag}` : ''}`;
const runningNow = () => (rolling.list ?? []).find((one) => one.state === 'in_progress');
const running = (one) => one?.state === 'in_progress';

/** Reads the list and the one that is shown: what was chosen, else what runs. */
async function readRollouts() {
  let listed = false;
  try {
    rolling.list = (await ask('GET', `${ROLLOUTS}?limit=10`)).value.deployments ?? [];
    rolling.problem = null;
    listed = true;
    const id =
      rolling.chosen ?? runningNow()?.id ?? (running(rolling.shown) ? rolling.shown.id : null);
    if (id) rolling.shown = (await ask('GET', `${ROLLOUTS}/${encodeURIComponent(id)}`)).value;
  } catch (problem) {
    if (!(problem instanceof ApiProblem)) throw problem;
    if (problem.status === NOBODYS) return;
    // SSM lists an order some seconds after it took it.
    const soon = listed && problem.status === 404 && problem.body.retry_after_seconds;
    const why =
      !listed && problem.status === 404
        ? 'Rollouts are not installed at this address.'
        : `Rollouts could not be read: ${problem.message}.`;
    rolling.problem = soon ? null : why;
  }
  drawRollouts();
}

function drawRollouts() {
  const { list, problem, shown, chosen } = rolling;
  draw($('rollouts'), [list, problem, shown?.id], () => {
    const warning = problem && h('p', { class: `notice ${list ? 'bad' : ''}` }, problem);
    if (!list) return warning ?? h('p', { class: 'soft' }, 'Reading…');
    if (list.length === 0) return [warning, h('p', { class: 'soft' }, 'None yet.')];
    return [
      warning,
      h(
        'ul',
        { class: 'rows' },
        list.slice(0, 8).map((one) =>
          h(
            'li',
            {},
            h(
              'button',
              {
                class: 'link',
                type: 'button',
                'aria-pressed': shown?.id === one.id ? 'true' : 'false',
                onclick: () => choose(one.id),
              },
              title(one),
            ),
            pill(...(ROLLOUT_STATES[one.state] ?? [one.state, 'calm'])),
            ago(one.requested_at),
          ),
        ),
      ),
    ];
  });
  $('rollout').hidden = !shown || (!chosen && !running(shown) && shown.id !== rolling.watched);
  if (!shown) return;
  if (running(shown)) rolling.watched = shown.id;
  $('rollout-title').textContent = title(shown);
  const { id, state, kind, paused, needs_decision: asks, counts, note } = shown;
  draw($('rollout-buttons'), [id, state, kind, paused, asks, wayBack(shown), mayChange()], () =>
    rolloutButtons(shown),
  );
  const ends = [shown.hosts_left, shown.last_limit_at, shown.ended_at];
  draw($('rollout-summary'), [id, state, paused, asks, counts, note, ends], () =>
    rolloutSummary(shown),
  );
  drawHosts(shown);
}

async function choose(id) {
  rolling.chosen = id;
  rolling.shown = rolling.shown?.id === id ? rolling.shown : null;
  await readRollouts();
  if (!$('rollout').hidden) $('rollout').scrollIntoView({ block: 'nearest' });
}

/** What rolling back would do, in words; null where there is nothing to go back from. */
function wayBack(shown) {
  if (running(shown) || (shown.kind !== 'deploy' && shown.kind !== 'rollback')) return null;
  const stable = page.status?.versions.stable;
  if (stable?.deployment_id === shown.id)
    return 'A new rollout puts the version that was stable before this one on every host.';
  // From an older success the server would go to what is stable now, which is no way back.
  if (shown.state === 'succeeded') return null;
  return `A new rollout puts ${stable ? `${stable.image_tag}, which is stable,` : 'the stable version'} on every host.`;
}

function rolloutButtons(shown) {
  const button = (label, act) =>
    h('button', { type: 'button', disabled: !mayChange(), onclick: () => act(shown) }, label);
  const back = wayBack(shown);
  const pausable = running(shown) && (shown.kind === 'deploy' || shown.kind === 'rollback');
  return [
    pausable &&
      (shown.paused || shown.needs_decision
        ? button('Continue…', continueRollout)
        : button('Pause…', pauseRollout)),
    running(shown) && button('Cancel…', cancelRollout),
    back && button('Roll back…', () => rollBack(shown, back)),
    !running(shown) &&
      h(
        'button',
        {
          class: 'quiet',
          type: 'button',
          onclick: () => {
            rolling.chosen = rolling.watched = null;
            drawRollouts();
          },
        },
        'Close',
      ),
  ];
}

/** How many hosts are left, and when the last of the jobs that they wait for has had its limit. */
function whatIsLeft({ hosts_left: left, last_limit_at: limit }) {
  if (left === undefined) return null;
  const until = limit && `, and the last job's limit ends ${moment(Date.parse(limit))}`;
  return h('p', { class: 'hint' }, `${plural(left, 'host')} left${until ?? ''}.`);
}

/** What a host that holds an order waits for. */
function waitOf({ state, waiting_since: since, limit_at: limit }) {
  if (state !== 'waiting' || !since) return null;
  const until = limit ? `, until ${moment(Date.parse(limit))} at most` : '';
  return `since ${moment(Date.parse(since))}${until}`;
}

function rolloutSummary(shown) {
  const counts = ORDER.map((state) => [state, shown.counts?.[state] ?? 0]).filter(
    ([, count]) => count > 0,
  );
  const bar = h('div', { class: 'bar', 'aria-hidden': 'true' });
  for (const [state, count] of counts) {
    const part = h('i', { class: HOST_STATES[state][1] });
    part.style.flexGrow = count;
    bar.append(part);
  }
  const who = [
    shown.strategy,
    shown.requested_by && `by ${shown.requested_by}`,
    shown.reason && `“${shown.reason}”`,
  ]
    .filter(Boolean)
    .join(' · ');
  return [
    h(
      'p',
      {},
      pill(...(ROLLOUT_STATES[shown.state] ?? [shown.state, 'calm'])),
      ' ',
      shown.paused && [pill('Paused', 'warn'), ' '],
      shown.needs_decision && [pill('Needs a decision', 'warn'), ' '],
      ago(shown.requested_at),
      shown.ended_at &&
        ` · took ${span(Date.parse(shown.ended_at) - Date.parse(shown.requested_at))}`,
      who && h('span', { class: 'soft' }, ` · ${who}`),
    ),
    bar,
    h(
      'p',
      { role: 'status' },
      counts
        .map(([state, count]) => `${count} ${HOST_STATES[state][0].toLowerCase()}`)
        .join(' · ') || 'No host yet',
    ),
    whatIsLeft(shown),
    shown.note && h('p', { class: 'hint' }, shown.note),
  ];
}

const hostRows = new Map();
function drawHosts(shown) {
  if (hostRows.of !== shown.id) {
    hostRows.clear();
    hostRows.of = shown.id;
    $('rollout-hosts').replaceChildren();
  }
  for (const host of shown.hosts ?? []) {
    const key = JSON.stringify(host);
    let known = hostRows.get(host.instance_id);
    if (!known) {
      known = { item: h('li') };
      hostRows.set(host.instance_id, known);
      $('rollout-hosts').append(known.item);
    }
    if (known.key === key) continue;
    known.key = key;
    const open = known.item.querySelector('details')?.open;
    const from =
      host.version_before && host.version_after && host.version_before !== host.version_after;
    const words = [
      waitOf(host) ?? host.step,
      from ? `${host.version_before} → ${host.version_after}` : host.version_after,
      host.message,
      ...(host.notes ?? []),
    ]
      .filter(Boolean)
      .join(' · ');
    known.item.replaceChildren(
      h('span', { class: 'mono' }, host.instance_id),
      pill(...(HOST_STATES[host.state] ?? [host.state, 'calm'])),
      ...[
        words && h('span', { class: 'hint' }, words),
        host.log?.length &&
          h(
            'details',
            { open },
            h('summary', {}, 'Log'),
            h('pre', { tabindex: 0 }, host.log.join('\n')),
          ),
      ].filter(Boolean),
    );
  }
}
