import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { who } from '../app.js';

// messages are the shapes an HTTP answer can have.
export function messages(slot) {
  const router = express.Router();

  // Answers after ?ms=, as a slow query would.
  router.get('/slow', async (req, res) => {
    await sleep(Number(req.query.ms ?? 1000));
    res.json({ id: req.get('X-Request-Id'), ...who(slot) });
  });

  // Takes a body of up to 20 MB and says what arrived.
  router.post('/upload', async (req, res) => {
    const hash = createHash('sha256');
    let length = 0;
    await pipeline(req, async (body) => {
      for await (const piece of body) {
        length += piece.length;
        if (length > 20 * 1024 * 1024) break;
        hash.update(piece);
      }
    });
    if (length > 20 * 1024 * 1024) {
      res.status(413).set('Connection', 'close').json({ error: 'more than 20 MB' });
      return;
    }
    res.json({ sha256: hash.digest('hex'), length, ...who(slot) });
  });

  // Gives ?bytes= bytes, with Content-Length.
  router.get('/big', (req, res) => {
    const bytes = Number(req.query.bytes ?? 1024 * 1024);
    res.type('application/octet-stream').send(Buffer.alloc(bytes, 'charactier '));
  });

  // Gives ?pieces= pieces, ?interval= ms apart, without Content-Length.
  router.get('/chunked', async (req, res) => {
    const { pieces = 5, interval = 10 } = req.query;
    res.type('text/plain');
    for (let n = 1; n <= Number(pieces); n++) {
      res.write(`piece ${n}\n`);
      await sleep(Number(interval));
    }
    res.end();
  });

  // Sends 103 Early Hints, then the answer.
  router.get('/early-hints', async (req, res) => {
    res.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
    await sleep(Number(req.query.ms ?? 10));
    res.json(who(slot));
  });

  // Ends with trailer fields.
  router.get('/trailers', (req, res) => {
    const body = 'the trailers follow\n';
    res.set({ 'Content-Type': 'text/plain', Trailer: 'X-Checksum' });
    res.write(body);
    res.addTrailers({ 'X-Checksum': createHash('sha256').update(body).digest('hex') });
    res.end();
  });

  // Answers with the given status.
  router.all('/status/:code', (req, res) => {
    res.status(Number(req.params.code)).json(who(slot));
  });

  return router;
}
