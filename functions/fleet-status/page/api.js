// The one place that talks to the network.

const TOKEN = 'fleet-token';
const ANSWER_WITHIN = 20000;

class ApiProblem extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body ?? {};
  }
}

/** Asks the fleet. Rejects with an ApiProblem whose message is for people; status 0 is "no answer". */
async function ask(method, path, body, headers) {
  const token = sessionStorage.getItem(TOKEN);
  let reply;
  let text;
  try {
    reply = await fetch(path, {
      method,
      headers: {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_WITHIN),
      cache: 'no-store',
      credentials: 'omit',
    });
    text = await reply.text();
  } catch (error) {
    const late = error.name === 'TimeoutError';
    throw new ApiProblem(0, late ? `no answer within ${ANSWER_WITHIN / 1000} s` : 'the fleet cannot be reached from here');
  }
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!reply.ok) {
    const detail = value?.detail ?? value?.message ?? `the answer was HTTP ${reply.status}`;
    const problem = new ApiProblem(reply.status, detail, value);
    // A call that was made with an older token says nothing of this one.
    if (reply.status === 401 && token === sessionStorage.getItem(TOKEN)) signOut(`Signed out: ${detail}.`);
    throw problem;
  }
  if (value === null || typeof value !== 'object') throw new ApiProblem(reply.status, 'the answer is no JSON');
  return { value, role: reply.headers.get('x-fleet-role') };
}
