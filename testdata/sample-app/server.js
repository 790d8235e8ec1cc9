// One slot: the process that one systemd unit runs. The app itself is in app.js.
import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { createApp } from './app.js';
import { startJobs } from './jobs.js';
import { Ledger } from './ledger.js';
import { createRole } from './role.js';

const {
  PORT = '5000',
  HOST = '127.0.0.1',
  SLOT = 'blue',
  REVISION = 'unknown',
  LEDGER,
  ARRIVALS,
  WEBHOOK_SECRET = 'whsec_sample',
  ROLE_PATH = '/internal/role',
  ROLE_LEASE_MS = '0',
  JOB_LEDGER,
  JOB_EVERY_MS = '1000',
  KEEP_ALIVE_TIMEOUT_MS,
  STOP_TIMEOUT_MS = '30000',
  EXIT_CODE,
  HEALTHY = 'true',
  FAIL_SHARE = '0',
  FAIL_AFTER = '0',
} = process.env;

if (EXIT_CODE) { // as an app does that lacks what it needs
  console.error('cannot reach the database');
  process.exit(Number(EXIT_CODE));
}
const role = createRole({ lease: Number(ROLE_LEASE_MS) });
if (JOB_LEDGER) startJobs(role, { slot: SLOT, file: JOB_LEDGER, every: Number(JOB_EVERY_MS) });

const app = createApp({
  slot: SLOT,
  revision: REVISION,
  webhookSecret: WEBHOOK_SECRET,
  ledger: new Ledger(LEDGER),
  healthy: HEALTHY === 'true',
  failShare: Number(FAIL_SHARE),
  failAfter: Number(FAIL_AFTER),
  rolePath: ROLE_PATH,
  role,
});
const server = createServer(app);
if (KEEP_ALIVE_TIMEOUT_MS) server.keepAliveTimeout = Number(KEEP_ALIVE_TIMEOUT_MS);

// Connections get a number, so that an answer can tell which one it came by.
let connections = 0;
server.on('connection', (socket) => { socket.serial = ++connections; });

// Each request that bears an id for it is written down when it arrives, by the
// machine's monotonic clock, before anything is done about it.
if (ARRIVALS) {
  const file = openSync(ARRIVALS, 'a');
  const arrived = (req) => {
    const id = req.headers['x-chaos-id'];
    if (id) writeSync(file, `${process.hrtime.bigint()} ${req.method} ${id}\n`);
  };
  server.prependListener('request', arrived);
  server.prependListener('upgrade', arrived);
}

// WS /ws echoes every message, text or binary, fragments joined. With
// ?interval=MS it sends numbered messages too, from ?after=N on: a client that
// comes back goes on with the next number, whichever slot answers.
const sockets = new WebSocketServer({ server, path: '/ws' });
sockets.on('headers', (headers) => headers.push(`X-Slot: ${SLOT}`));
sockets.on('connection', (socket, req) => {
  const asked = new URL(req.url, 'http://slot').searchParams;
  if (asked.has('interval')) {
    let id = Number(asked.get('after') ?? 0);
    const timer = setInterval(() => socket.send(JSON.stringify({ id: ++id, slot: SLOT, revision: REVISION })), Number(asked.get('interval')));
    socket.on('close', () => clearInterval(timer));
  }
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on('error', (err) => console.error(err.message));
});

// Stop as most Express apps do: take no new connection, wait for the requests,
// give up after 30 s. An open event stream or WebSocket makes it wait that long.
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(1), Number(STOP_TIMEOUT_MS)).unref();
});

server.listen(Number(PORT), HOST, () => {
  console.log(`${SLOT} (${REVISION}) listens on ${HOST}:${server.address().port}`);
});
