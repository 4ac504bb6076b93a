// Everything that changes something: each asks first, and says what will happen.

const DURATIONS = [
  [30, '30 minutes'],
  [60, '1 hour'],
  [240, '4 hours'],
  [480, '8 hours'],
  [1440, '1 day'],
  [4320, '3 days'],
  [10080, '7 days'],
];
const STRATEGIES = [
  ['canary', 'Canary: one host first'],
  ['one-at-a-time', 'One at a time'],
  ['half-at-a-time', 'Half at a time'],
  ['all-at-once', 'All at once'],
];

/** Readers look; the server refuses them anyway, and this saves them the question. */
const mayChange = () => page.role !== 'reader';

function toast(text) {
  const note = h('p', { class: 'toast' }, text);
  $('toasts').append(note);
  setTimeout(() => note.remove(), 8000);
}

/** A labelled input, select or checkbox; `read` gives its value. */
function field(label, control, check = false) {
  control.id = `field-${label.toLowerCase().replace(/\W+/g, '-')}`;
  const words = h('label', { for: control.id }, label);
  return h(
    'div',
    { class: check ? 'field check' : 'field' },
    check ? [control, words] : [words, control],
  );
}
const select = (options, value) =>
  h(
    'select',
    {},
    options.map(([key, label]) =>
      h('option', { value: key, selected: String(key) === String(value) }, label),
    ),
  );

/**
 * Asks, then does. `says` gives the sentences about what will happen, anew whenever a field
 * changes; `act` does it and gives the word for it that is shown afterwards.
 */
function confirmThen({ title: heading, fields = [], says, button, danger, act }) {
  const dialog = $('dialog');
  const confirm = $('dialog-confirm');
  const problem = $('dialog-problem');
  const tell = () =>
    $('dialog-text').replaceChildren(
      ...[says()]
        .flat()
        .filter(Boolean)
        .map((part) => (typeof part === 'string' ? h('p', {}, part) : part)),
    );
  $('dialog-title').textContent = heading;
  $('dialog-fields').replaceChildren(...fields);
  $('dialog-fields').oninput = tell;
  confirm.textContent = button;
  confirm.className = danger ? 'primary danger' : 'primary';
  confirm.disabled = false;
  problem.hidden = true;
  tell();
  $('dialog-form').onsubmit = async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    problem.hidden = true;
    try {
      const word = await act();
      dialog.close();
      toast(word);
    } catch (error) {
      if (!(error instanceof ApiProblem)) throw error;
      const doubt =
        error.status === 0 || error.status >= 500
          ? ' It may or may not have been done: look before you repeat it.'
          : '';
      problem.textContent = `Not confirmed: ${error.message}.${doubt}`;
      problem.hidden = false;
    } finally {
      confirm.disabled = false;
    }
    // A token that was refused has signed out, with the reason.
    if (sessionStorage.getItem(TOKEN)) renew();
  };
  dialog.showModal();
  (fields[0]?.querySelector('input, select') ?? $('dialog-cancel')).focus();
}

const hosts = () =>
  page.status?.instances?.filter((instance) => !instance.lifecycle.startsWith('Terminat')).length;
const allHosts = () => (hosts() === undefined ? 'every host' : `all ${plural(hosts(), 'host')}`);
const inMinutes = (minutes) => moment(now() + minutes * 60000);

function tickNow() {
  confirmThen({
    title: 'Decide now',
    says: () => [
      'The scaling function looks at the queue and the group within a second or two instead of at its next tick, and acts on what it sees: it may add workers, or end one that is proven idle.',
      'No worker with a job is ended.',
    ],
    button: 'Decide now',
    act: async () => {
      const { value } = await ask('POST', '/api/v1/admin/autoscale/tick');
      const what = value.type === 'joined' ? 'Joined' : 'Decided';
      return `${what}: ${value.summary ?? value.because ?? 'done'}`;
    },
  });
}

function setFloor() {
  const { capacity, cost } = page.status;
  const between = (capacity?.max ?? 0) - (capacity?.min ?? 0);
  // One worker more or less for an hour, from the two months that the bounds cost.
  const each =
    cost && between > 0
      ? (cost.month_at_max_micros - cost.month_at_min_micros) / between / 730
      : null;
  const most = capacity?.max ?? 1000;
  const workers = h('input', {
    type: 'number',
    min: 0,
    max: most,
    step: 1,
    required: true,
    value: capacity?.floor?.workers ?? capacity?.desired ?? 1,
  });
  const minutes = select(DURATIONS, 240);
  confirmThen({
    title: 'Set a floor',
    fields: [field('At least this many workers', workers), field('For', minutes)],
    says: () => [
      `Until ${inMinutes(minutes.value)} the fleet has at least ${plural(Number(workers.value), 'worker')}, even while the queue is empty. More are added for jobs as always, up to ${most}.`,
      each &&
        workers.value > capacity.desired &&
        `That is ${workers.value - capacity.desired} more than now, about ${money(each * (workers.value - capacity.desired))} an hour.`,
      'It ends by itself. It takes effect with the next decision, within a minute.',
    ],
    button: 'Set the floor',
    act: () =>
      setCapacity(
        { floor: { workers: Number(workers.value), for_minutes: Number(minutes.value) } },
        'The floor is set.',
      ),
  });
}

function removeFloor() {
  confirmThen({
    title: 'Remove the floor',
    says: () => [
      'The need alone decides again. Workers that are not needed are ended one by one, each only when it is proven idle.',
    ],
    button: 'Remove the floor',
    act: () => setCapacity({ floor: null }, 'The floor is removed.'),
  });
}

function pause() {
  const minutes = select(DURATIONS, 60);
  confirmThen({
    title: 'Pause scaling',
    fields: [field('For', minutes)],
    says: () => [
      `Until ${inMinutes(minutes.value)} nobody touches the capacity${page.status.capacity ? `: it stays at ${page.status.capacity.desired}` : ''}. No worker is added, however many jobs wait, and none is ended.`,
      'Running jobs go on. It ends by itself.',
    ],
    button: 'Pause scaling',
    act: () =>
      setCapacity({ paused: { for_minutes: Number(minutes.value) } }, 'Scaling is paused.'),
  });
}

function resume() {
  confirmThen({
    title: 'Resume scaling',
    says: () => [
      'With the next decision, within a minute, workers are added and ended again as the jobs need it.',
    ],
    button: 'Resume scaling',
    act: () => setCapacity({ paused: null }, 'Scaling goes on.'),
  });
}

async function setCapacity(wish, word) {
  await ask('PUT', '/api/v1/admin/capacity', wish);
  return word;
}

/** Starts an order to hosts and shows it. */
async function start(path, body, word, headers) {
  const { value } = await ask('POST', path, body, headers);
  if (value.id) await choose(value.id);
  return word;
}

function drainSelected() {
  const ids = [...selected];
  const busy = machines(page.status).filter(
    (one) => selected.has(one.id) && one.workers.some((worker) => worker.state === 'busy'),
  ).length;
  confirmThen({
    title: `Drain ${plural(ids.length, 'worker')}`,
    says: () => [
      'They take no new job. A running job is finished first, however long it takes; none is interrupted.',
      busy > 0 && `${plural(busy, 'of them has', 'of them have')} a job now.`,
      'The machines stay in the group and go on costing money. A worker works again once it is resumed on its host or a version is deployed to it.',
      h(
        'ul',
        { class: 'mono' },
        ids.map((id) => h('li', {}, id)),
      ),
    ],
    button: 'Drain',
    danger: true,
    act: async () => {
      const word = await start(
        '/api/v1/admin/drain',
        { instance_ids: ids },
        'The drain has begun.',
      );
      selected.clear();
      rows.forEach((known) => {
        known.key = '';
      });
      return word;
    },
  });
}

function cleanUp() {
  confirmThen({
    title: 'Clean up the disks',
    says: () => [
      `On ${allHosts()}: old images, build caches, unused volumes, old files in /tmp and old logs are removed, as every day at 03:00 UTC.`,
      'Images that run, ran before or would be rolled back to are kept. Running jobs are not touched.',
    ],
    button: 'Clean up',
    act: () => start('/api/v1/admin/cleanup', {}, 'The clean-up has begun.'),
  });
}

function refreshSecrets() {
  confirmThen({
    title: 'Refresh the secrets',
    says: () => [
      `${allHosts().replace(/^./, (c) => c.toUpperCase())} read Secrets Manager again and report which keys changed, by name only.`,
      'Nothing is restarted: a container gets new values with its next deployment.',
    ],
    button: 'Refresh',
    act: () => start('/api/v1/admin/refresh-secrets', {}, 'The refresh has begun.'),
  });
}

function deploy() {
  // One key for one question: pressing twice, or again after a lost answer, starts one rollout.
  const key = crypto.randomUUID();
  const tag = h('input', {
    type: 'text',
    required: true,
    maxlength: 128,
    pattern: '[A-Za-z0-9_][A-Za-z0-9_.\\-]*',
    autocomplete: 'off',
    spellcheck: 'false',
    title: 'Letters, digits, _ . and -',
  });
  const strategy = select(STRATEGIES, 'canary');
  const reason = h('input', { type: 'text', maxlength: 200, autocomplete: 'off' });
  const force = h('input', { type: 'checkbox' });
  const how = {
    canary:
      'One host first. Only when it has proved the new version do two more follow, then more, up to half at a time.',
    'one-at-a-time':
      'One host after the other, the next only when the one before has proved the new version.',
    'half-at-a-time': 'Up to half of the hosts at the same time.',
    'all-at-once': 'All hosts at the same time. While they restart, nobody takes jobs.',
  };
  confirmThen({
    title: 'Deploy a version',
    fields: [
      field('Image tag', tag),
      field('Strategy', strategy),
      field('Reason', reason),
      field(
        'Force: replace also what is current, and end a job that has had the job limit',
        force,
        true,
      ),
    ],
    says: () => [
      `${tag.value || 'The version'} goes to ${allHosts()}. ${how[strategy.value]}`,
      force.checked
        ? h('p', { class: 'flag' }, 'With force, a job that has had the job limit is ended.')
        : 'Each host finishes its running job first; none is interrupted.',
      'The first failure stops the rollout, and hosts that were changed go back to the version before. New machines boot the new version once as many hosts have proved it as the strategy asks for.',
    ],
    button: 'Deploy',
    act: () =>
      start(
        ROLLOUTS,
        {
          image_tag: tag.value,
          strategy: strategy.value,
          force: force.checked,
          ...(reason.value && { reason: reason.value }),
        },
        `The rollout of ${tag.value} has begun.`,
        { 'idempotency-key': key },
      ),
  });
}

function pauseRollout(shown) {
  confirmThen({
    title: `Pause: ${title(shown)}`,
    says: () => [
      'No host gets a new order. Hosts that hold one carry it out; the stable version stays as it is.',
    ],
    button: 'Pause',
    act: () =>
      start(
        `${ROLLOUTS}/${encodeURIComponent(shown.id)}/pause`,
        undefined,
        'The rollout is paused.',
      ),
  });
}

function continueRollout(shown) {
  confirmThen({
    title: `Continue: ${title(shown)}`,
    says: () => ['The next hosts get their orders.'],
    button: 'Continue',
    act: () =>
      start(
        `${ROLLOUTS}/${encodeURIComponent(shown.id)}/continue`,
        undefined,
        'The rollout goes on.',
      ),
  });
}

function cancelRollout(shown) {
  confirmThen({
    title: `Cancel: ${title(shown)}`,
    says: () => [
      'Hosts that were not reached yet are left alone. Hosts that are at it finish or go back by themselves; hosts that are done stay as they are.',
    ],
    button: 'Cancel the rollout',
    danger: true,
    act: () =>
      start(
        `${ROLLOUTS}/${encodeURIComponent(shown.id)}/cancel`,
        undefined,
        'The rollout is being cancelled.',
      ),
  });
}

function rollBack(shown, what) {
  const key = crypto.randomUUID();
  confirmThen({
    title: `Roll back: ${title(shown)}`,
    says: () => [
      `${what} Each host finishes its running job first.`,
      'You can watch it here as any other.',
    ],
    button: 'Roll back',
    danger: true,
    act: () =>
      start(
        `${ROLLOUTS}/${encodeURIComponent(shown.id)}/rollback`,
        undefined,
        'The roll-back has begun.',
        { 'idempotency-key': key },
      ),
  });
}

function drawActions(status) {
  const { floor, paused } = status.capacity ?? {};
  const rollouts = rolling.problem === null || rolling.list !== null;
  const data = [Boolean(floor), Boolean(paused), page.role, rollouts, Boolean(runningNow())];
  draw($('actions'), data, () => {
    const button = (label, act, allowed = true) =>
      h('button', { type: 'button', disabled: !mayChange() || !allowed, onclick: act }, label);
    return [
      button('Decide now…', tickNow),
      button(floor ? 'Change floor…' : 'Set floor…', setFloor),
      floor && button('Remove floor…', removeFloor),
      paused ? button('Resume scaling…', resume) : button('Pause scaling…', pause),
      button('Deploy…', deploy, rollouts && !runningNow()),
      button('Clean up disks…', cleanUp, rollouts),
      button('Refresh secrets…', refreshSecrets, rollouts),
    ];
  });
  $('role').textContent = mayChange()
    ? ''
    : 'You are signed in with the reader’s token, which only shows. Sign in with the operator’s to change something.';
}
