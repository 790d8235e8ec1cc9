import express from 'express';
import { events } from './routes/events.js';
import { messages } from './routes/messages.js';
import { orders } from './routes/orders.js';
import { webhooks } from './routes/webhooks.js';

// createApp builds the Express app of one slot.
export function createApp(slot) {
  const app = express();
  app.set('trust proxy', true); // as the app behind nginx has it: the left-most X-Forwarded-For wins
  app.set('etag', false);
  app.use((req, res, next) => {
    res.set('X-Slot', slot.slot);
    next();
  });

  let { healthy = true } = slot;
  app.get('/api/v1/health', (req, res) => {
    res.status(healthy ? 200 : 503).json({ healthy, ...who(slot) });
  });
  app.put('/api/v1/health', express.json(), (req, res) => { // makes the slot sick, for trying things out
    healthy = Boolean(req.body.healthy);
    res.json({ healthy, ...who(slot) });
  });

  app.post(slot.rolePath, slot.role.route);
  app.get('/api/v1/role', (req, res) => res.json({ ...slot.role.now, ...who(slot) }));

  app.all('/api/v1/echo', express.json(), (req, res) => {
    res.json({
      id: req.get('X-Request-Id'),
      ...who(slot),
      connection: req.socket.serial,
      method: req.method,
      url: req.originalUrl,
      ip: req.ip,
      protocol: req.protocol,
      headers: req.headers,
      rawHeaders: req.rawHeaders,
      body: req.body,
    });
  });

  app.use('/api/v1/orders', failing(slot));
  app.use('/api/v1', orders(slot), events(slot), messages(slot));
  app.use('/webhooks', webhooks(slot));
  return app;
}

// failing answers a share of the requests, after the first ones, as a release
// does that is only bad under traffic. Health knows nothing of it.
function failing({ failShare = 0, failAfter = 0 }) {
  let seen = 0;
  return (req, res, next) => {
    if (++seen > failAfter && Math.random() < failShare) res.status(500).json({ error: 'as configured' });
    else next();
  };
}

// who says which process answered.
export function who({ slot, revision }) {
  return { slot, revision, pid: process.pid };
}
