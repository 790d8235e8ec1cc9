// Keeps the role that charactier-proxy gives this process, so that what must run
// once runs in the active slot only. A process begins as standby.
//
//   const role = createRole({ onActive: () => queue.resume(), onStandby: () => queue.pause() });
//   app.post('/internal/role', role.route); // services.NAME.role.path
//   setInterval(() => { if (role.isActive()) sendReminders(); }, 60_000);
//
// With a lease, in milliseconds, a process that was not told for so long falls
// back to standby: for jobs that had better not run than run twice.
import { json } from 'node:stream/consumers';

const loopback = /^(::1$|(::ffff:)?127\.)/;

export function createRole({ onActive = () => {}, onStandby = () => {}, lease = 0 } = {}) {
  const now = { role: 'standby', generation: 0, since: Date.now() };
  const become = (role) => { if (role !== now.role) Object.assign(now, { role, since: Date.now() }); };
  let done = 'standby'; // the role whose callback has succeeded
  let turn = Promise.resolve(); // one change at a time, in order
  let expiry;

  async function take(role, generation) {
    if (generation < now.generation) return false; // a request that was overtaken
    now.generation = generation;
    clearTimeout(expiry);
    if (role === 'standby') become(role); // nothing begins from here on
    if (role !== done) await (role === 'active' ? onActive() : onStandby());
    become(done = role);
    if (lease && role === 'active') expiry = setTimeout(() => inTurn('standby', generation).catch(console.error), lease);
    return true;
  }
  const inTurn = (role, generation) => (turn = turn.catch(() => {}).then(() => take(role, generation)));

  // Only the daemon tells: from this machine, and by no proxy. What a callback
  // throws is answered 500, and the daemon tries again.
  async function answer(req, res) {
    const from = req.socket.remoteAddress; // none on a unix socket
    if ((from && !loopback.test(from)) || req.get('X-Forwarded-For')) return res.status(403).end();
    const { role, generation } = req.body ?? await json(req);
    if (!['active', 'standby'].includes(role) || !Number.isInteger(generation)) return res.status(400).end();
    return res.status(await inTurn(role, generation) ? 200 : 409).json(now);
  }
  const route = (req, res, next) => { answer(req, res).catch(next); };

  // due is when a job should begin. One that was due before this process became
  // active was the other slot's.
  const isActive = (due = Date.now()) => now.role === 'active' && now.since <= due;
  return { route, isActive, now };
}
