// Two series over the last hour, drawn by hand: an area and a dashed line, with gaps where nothing
// was known.

const HEIGHT = 150;
const LEFT = 30;
const TOP = 8;
const BOTTOM = 20;
const HOUR = 3600;

/** A step that divides the axis into two to four whole parts. */
function axisStep(most) {
  for (let unit = 1; ; unit *= 10)
    for (const step of [unit, 2 * unit, 5 * unit]) if (most <= step * 4) return step;
}

/** Runs of neighbouring known points; a minute without a sample is a gap too. */
function runs(at, values) {
  const found = [];
  let last = null;
  at.forEach((second, i) => {
    const value = values[i];
    if (value === null || value === undefined) {
      last = null;
      return;
    }
    if (last === null || second - last > 150) found.push([]);
    found.at(-1).push([second, value]);
    last = second;
  });
  return found;
}

function chart(box, legend, series, a, b) {
  const names = [a.name, b.name];
  const place = (el, extra = '') =>
    el.replaceChildren(
      h('span', {}, names[0] + (extra ? ` ${extra[0]}` : '')),
      h('span', { class: 'b' }, names[1] + (extra ? ` ${extra[1]}` : '')),
    );
  place(legend);
  const at = series?.at ?? [];
  if (at.length === 0) {
    const why = series
      ? 'No tick in the last hour'
      : 'Unknown: the scaling function’s memory could not be read';
    box.replaceChildren(h('p', { class: 'none' }, why));
    return;
  }
  const width = Math.max(240, box.clientWidth);
  const end = Math.floor(now() / 60000) * 60;
  const known = [...a.values, ...b.values].filter((value) => value !== null);
  const most = Math.max(1, ...known);
  const step = axisStep(most);
  const top = Math.ceil(most / step) * step;
  const x = (second) => LEFT + ((second - (end - HOUR)) / HOUR) * (width - LEFT - 6);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const seen = at.map((second) => second >= end - HOUR);
  const visible = (values) =>
    runs(
      at.filter((_, i) => seen[i]),
      values.filter((_, i) => seen[i]),
    );
  const points = (run) => run.map(([s, v]) => `${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join('L');
  const line = (kind, values) =>
    visible(values).map((run) =>
      run.length === 1
        ? h('circle', { class: `dot-${kind}`, cx: x(run[0][0]), cy: y(run[0][1]), r: 2 })
        : h('path', { class: `line-${kind}`, d: `M${points(run)}` }),
    );
  const areas = visible(a.values)
    .filter((run) => run.length > 1)
    .map((run) =>
      h('path', {
        class: 'area-a',
        d: `M${x(run[0][0]).toFixed(1)} ${y(0)}L${points(run)}L${x(run.at(-1)[0]).toFixed(1)} ${y(0)}Z`,
      }),
    );
  const grid = [];
  for (let value = 0; value <= top; value += step) {
    grid.push(h('line', { class: 'grid', x1: LEFT, x2: width - 6, y1: y(value), y2: y(value) }));
    grid.push(
      h(
        'text',
        { class: 'tick', x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' },
        String(value),
      ),
    );
  }
  for (const minutes of [60, 45, 30, 15, 0]) {
    if (width < 420 && minutes % 30) continue;
    const anchor = minutes === 60 ? 'start' : minutes === 0 ? 'end' : 'middle';
    const words = minutes === 0 ? 'now' : `−${minutes} min`;
    grid.push(
      h(
        'text',
        { class: 'tick', x: x(end - minutes * 60), y: HEIGHT - 4, 'text-anchor': anchor },
        words,
      ),
    );
  }
  const latest = (values) => values.findLast((value) => value !== null) ?? 'unknown';
  const label =
    `${names[0]}: ${latest(a.values)} now, at most ${Math.max(0, ...a.values)} in the last hour. ` +
    `${names[1]}: ${latest(b.values)} now, at most ${Math.max(0, ...b.values)}. Arrow keys go through the minutes.`;
  const cursor = h('g', { visibility: 'hidden' });
  let chosen = at.length;
  const choose = (i) => {
    chosen = Math.min(at.length - 1, Math.max(0, i));
    const values = [a.values[chosen], b.values[chosen]];
    cursor.setAttribute('visibility', 'visible');
    cursor.replaceChildren(
      h('line', {
        class: 'cursor',
        x1: x(at[chosen]),
        x2: x(at[chosen]),
        y1: TOP,
        y2: HEIGHT - BOTTOM,
      }),
      ...values
        .map(
          (value, n) =>
            value !== null &&
            h('circle', { class: n ? 'dot-b' : 'dot-a', cx: x(at[chosen]), cy: y(value), r: 3.2 }),
        )
        .filter(Boolean),
    );
    place(
      legend,
      values.map((value) => `${value ?? '?'}`),
    );
    legend.prepend(h('span', { class: 'at' }, clockTime(at[chosen] * 1000)));
    box.firstChild.setAttribute(
      'aria-label',
      `${clockTime(at[chosen] * 1000)}: ${names[0]} ${values[0] ?? 'unknown'}, ${names[1]} ${values[1] ?? 'unknown'}`,
    );
  };
  const leave = () => {
    cursor.setAttribute('visibility', 'hidden');
    chosen = at.length;
    place(legend);
    box.firstChild?.setAttribute('aria-label', label);
  };
  const nearest = (event) => {
    const second =
      end -
      HOUR +
      ((event.clientX - box.getBoundingClientRect().left - LEFT) / (width - LEFT - 6)) * HOUR;
    choose(
      at.reduce((best, s, i) => (Math.abs(s - second) < Math.abs(at[best] - second) ? i : best), 0),
    );
  };
  const keys = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (!by) return;
    event.preventDefault();
    choose(chosen + by);
  };
  const had = box.contains(document.activeElement);
  box.replaceChildren(
    h(
      'svg',
      {
        viewBox: `0 0 ${width} ${HEIGHT}`,
        role: 'img',
        tabindex: 0,
        'aria-label': label,
        onpointermove: nearest,
        onpointerleave: leave,
        onkeydown: keys,
        onblur: leave,
      },
      grid,
      areas,
      line('a', a.values),
      line('b', b.values),
      cursor,
    ),
  );
  if (had) box.firstChild.focus();
}

function drawCharts(status) {
  const series = status.series;
  const of = (name, key) => ({ name, values: series?.[key] ?? [] });
  chart($('jobs-chart'), $('jobs-legend'), series, of('Ready', 'ready'), of('Running', 'active'));
  chart(
    $('capacity-chart'),
    $('capacity-legend'),
    series,
    of('In service', 'in_service'),
    of('Desired', 'desired'),
  );
}
