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

const NO_ANSWER = 0;
/** Somebody signed out or in anew before the answer came: it is nobody's. */
const NOBODYS = -1;

/** Asks the fleet. Rejects with an ApiProblem whose message is for people. */
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
    throw new ApiProblem(
      NO_ANSWER,
      late ? `no answer within ${ANSWER_WITHIN / 1000} s` : 'the fleet cannot be reached from here',
    );
  }
  if (token !== sessionStorage.getItem(TOKEN))
    throw new ApiProblem(NOBODYS, 'signed out meanwhile');
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!reply.ok) {
    const detail = value?.detail ?? value?.message ?? `the answer was HTTP ${reply.status}`;
    const problem = new ApiProblem(reply.status, detail, value);
    // The API itself answers 403, and no problem document, for a token that is nobody's.
    const refused = reply.status === 401 || (reply.status === 403 && !value?.detail);
    if (refused) signOut(`Signed out: ${detail}.`);
    throw problem;
  }
  if (value === null || typeof value !== 'object')
    throw new ApiProblem(reply.status, 'the answer is no JSON');
  return { value, role: reply.headers.get('x-fleet-role') };
}
