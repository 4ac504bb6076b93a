'use strict';
// Elements and words. Everything that came over the network becomes text, never markup.

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; null and false leave one out. */
function h(name, attributes, ...children) {
  const svg = ['svg', 'path', 'line', 'text', 'circle', 'rect', 'g', 'title'].includes(name);
  const element = svg
    ? document.createElementNS('http://www.w3.org/2000/svg', name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/**
 * Replaces what is in an element, unless it was made from the same data before: focus and scrolling
 * stay.
 */
const drawn = new Map();
function draw(element, data, make) {
  const key = JSON.stringify(data);
  if (drawn.get(element) === key) return;
  drawn.set(element, key);
  element.replaceChildren(...[make()].flat().filter(Boolean));
}

const plural = (count, one, many) => `${count} ${count === 1 ? one : (many ?? `${one}s`)}`;
const unknown = () => h('span', { class: 'unknown' }, 'unknown');
const orUnknown = (value) => (value === null || value === undefined ? unknown() : String(value));

/** Milliseconds in words, coarse on purpose. */
function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 100) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

const clockTime = (ms) =>
  new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

/** A moment by the clock, with its day where that is not today. */
function moment(ms) {
  const day = new Date(ms).toDateString();
  const today = new Date(now()).toDateString() === day;
  return today
    ? clockTime(ms)
    : `${new Date(ms).toLocaleDateString([], { month: 'short', day: 'numeric' })} ${clockTime(ms)}`;
}

// Ages are against the server's clock, which may differ from this computer's.
let serverAhead = 0;
const now = () => Date.now() + serverAhead;

/** An element that says how long ago something was, and keeps saying it. */
function ago(iso, suffix = ' ago') {
  if (!iso) return unknown();
  const at = Date.parse(iso);
  return h(
    'time',
    { datetime: iso, title: new Date(at).toLocaleString(), 'data-at': at, 'data-suffix': suffix },
    span(now() - at) + suffix,
  );
}

function renewAges() {
  for (const element of document.querySelectorAll('[data-at]')) {
    const text = span(now() - element.dataset.at) + element.dataset.suffix;
    if (element.textContent !== text) element.textContent = text;
  }
}

/** Millionths of a dollar as money. */
function money(micros) {
  const dollars = micros / 1e6;
  return `$${dollars.toLocaleString('en-US', dollars < 100 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumFractionDigits: 0 })}`;
}

const pill = (text, kind, title) => h('span', { class: `pill ${kind}`, title }, text);
