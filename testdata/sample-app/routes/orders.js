import { Readable } from 'node:stream';
import express from 'express';
import { who } from '../app.js';

// orders are what must never be executed twice: a POST counts its request id.
export function orders(slot) {
  const { ledger } = slot;
  const router = express.Router();

  router.post('/orders', express.json(), (req, res) => {
    const id = req.get('X-Request-Id');
    if (!id || req.body?.id !== id) {
      res.status(400).json({ error: 'X-Request-Id and the id in the body must be the same' });
      return;
    }
    res.status(201).json({ id, count: ledger.add(id), ...who(slot) });
  });

  router.get('/orders/:id/count', (req, res) => {
    res.json({ id: req.params.id, count: ledger.count(req.params.id), ...who(slot) });
  });

  // All ids with their counts, one "id count" a line.
  router.get('/orders', (req, res) => {
    res.type('text/plain');
    Readable.from(ledger.lines()).pipe(res);
  });

  return router;
}
