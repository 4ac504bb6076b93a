// Signing in and out, and keeping what is shown fresh.

const STATUS = '/api/v1/admin/fleet-status';
const EVERY = 10000;
const EVERY_WHILE_ROLLING = 3000;
const STALE_AFTER = 30000;
const page = { status: null, role: null, failure: null, fetched: 0, timers: {}, turns: {} };

/** Reads the status and shows it. A failure leaves what is there, marked as old. */
async function readStatus() {
  const asked = Date.now();
  try {
    const { value, role } = await ask('GET', STATUS);
    Object.assign(page, { status: value, role, failure: null, fetched: Date.now() });
    serverAhead = Date.parse(value.at) - (asked + page.fetched) / 2;
  } catch (problem) {
    if (!(problem instanceof ApiProblem)) throw problem;
    if (problem.status === NOBODYS) return;
    page.failure = problem.message;
  }
  drawStatus();
}

function drawStatus() {
  const { status } = page;
  if (!status || $('signed-in').hidden) return;
  draw($('place'), [status.environment, status.asgName], () => [
    pill(status.environment, 'calm'),
    h('span', {}, status.asgName),
  ]);
  document.title = `${status.environment}: GhostHands Fleet`;
  drawNotices(status, page.failure);
  drawSummary(status);
  drawCharts(status);
  drawDecisions(status);
  drawActions(status);
  drawWorkers(status);
  drawAge();
}

function drawAge() {
  if (!page.status) return;
  const old = Date.now() - page.fetched;
  const stale = page.failure !== null || old > STALE_AFTER;
  $('age').textContent = stale ? `${span(old)} old` : old < 2000 ? 'just now' : `${span(old)} ago`;
  document.body.classList.toggle('stale', stale);
  const gone = ['unavailable', page.status.unavailable.length];
  $('footer').textContent =
    `Read at ${new Date(page.status.at).toLocaleString()}${gone[1] ? ` without ${plural(gone[1], 'source')}` : ''}. Prices are settings, not a bill.`;
}

/**
 * Calls `read` again and again, the next time only after the last one ended, and not while nobody
 * looks.
 */
function keep(name, read, every) {
  clearTimeout(page.timers[name]);
  // Whoever calls anew ends the turns before, one that waits for its answer included.
  const mine = (page.turns[name] ?? 0) + 1;
  page.turns[name] = mine;
  const turn = async () => {
    if (!document.hidden) await read();
    if (mine === page.turns[name]) page.timers[name] = setTimeout(turn, every());
  };
  turn();
}

function renew() {
  keep('status', readStatus, () => EVERY);
  keep(
    'rollouts',
    async () => {
      await readRollouts();
      if (page.status) drawActions(page.status);
    },
    () => (running(rolling.shown) || runningNow() ? EVERY_WHILE_ROLLING : EVERY),
  );
}

function signOut(message) {
  sessionStorage.removeItem(TOKEN);
  for (const name of Object.keys(page.turns)) {
    page.turns[name] += 1;
    clearTimeout(page.timers[name]);
  }
  Object.assign(page, { status: null, role: null, failure: null });
  Object.assign(rolling, { list: null, problem: null, shown: null, chosen: null, watched: null });
  // Nothing that was shown stays in the document.
  for (const kept of [selected, rows, hostRows, drawn]) kept.clear();
  for (const id of [
    'place',
    'notices',
    'summary',
    'jobs-chart',
    'capacity-chart',
    'decisions',
    'rollouts',
    'actions',
    'rollout-summary',
    'rollout-hosts',
    'rollout-buttons',
    'rollout-title',
    'workers',
    'workers-note',
    'footer',
    'toasts',
    'dialog-text',
    'dialog-fields',
  ])
    $(id).replaceChildren();
  if ($('dialog').open) $('dialog').close();
  document.body.classList.remove('stale');
  document.title = 'GhostHands Fleet';
  $('signed-in').hidden = true;
  $('signed-out').hidden = false;
  $('sign-in-message').hidden = !message;
  $('sign-in-message').textContent = message ?? '';
  $('token').focus();
}

function show() {
  $('signed-out').hidden = true;
  $('signed-in').hidden = false;
  $('sign-in-message').hidden = true;
  renew();
}

$('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = event.target.querySelector('button');
  const token = $('token').value.trim();
  const refuse = (text) => {
    sessionStorage.removeItem(TOKEN);
    $('sign-in-message').hidden = false;
    $('sign-in-message').textContent = text;
  };
  // A header takes no more than this.
  if (!/^[\x21-\x7e]+$/.test(token))
    return refuse('A token has only letters, digits and signs, and no spaces.');
  button.disabled = true;
  sessionStorage.setItem(TOKEN, token);
  try {
    await ask('GET', STATUS);
    $('token').value = '';
    show();
    $('content').focus({ preventScroll: true });
  } catch (problem) {
    if (!(problem instanceof ApiProblem)) throw problem;
    refuse(
      problem.status === 401 || problem.status === 403
        ? `Not let in: ${problem.message}.`
        : `Not signed in: ${problem.message}.`,
    );
  } finally {
    button.disabled = false;
  }
});
$('sign-out').addEventListener('click', () => signOut());
$('reload').addEventListener('click', renew);
$('filter').addEventListener('input', () => page.status && filterWorkers(page.status));
$('drain').addEventListener('click', drainSelected);
$('dialog-cancel').addEventListener('click', () => $('dialog').close());
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !$('signed-in').hidden) renew();
});
let resizing;
window.addEventListener('resize', () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => page.status && drawCharts(page.status), 150);
});
setInterval(() => {
  renewAges();
  drawAge();
}, 1000);
$('columns').append(
  ...COLUMNS.map(([label]) =>
    h(
      'th',
      { role: 'columnheader', scope: 'col' },
      label || h('span', { class: 'unseen' }, 'Select'),
    ),
  ),
);
if (sessionStorage.getItem(TOKEN)) show();
