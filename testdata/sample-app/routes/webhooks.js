import { createHmac, timingSafeEqual } from 'node:crypto';
import express from 'express';
import { who } from '../app.js';

// webhooks verify the signature over the raw body, so one changed byte is
// noticed, and count deliveries by event id, so a replayed one is too.
export function webhooks(slot) {
  const router = express.Router();
  const deliveries = new Map();

  router.post('/stripe', express.raw({ type: '*/*', limit: '5mb' }), (req, res) => {
    if (!signed(req.body, req.get('Stripe-Signature') ?? '', slot.webhookSecret)) {
      res.status(400).json({ error: 'the signature does not match the body' });
      return;
    }
    const { id } = JSON.parse(req.body);
    deliveries.set(id, (deliveries.get(id) ?? 0) + 1);
    res.json({ id, deliveries: deliveries.get(id), ...who(slot) });
  });

  router.get('/stripe/:id', (req, res) => {
    res.json({ id: req.params.id, deliveries: deliveries.get(req.params.id) ?? 0, ...who(slot) });
  });

  return router;
}

// signed checks a header of the form "t=TIME,v1=HMAC-SHA256 of TIME.BODY in hex".
function signed(body, header, secret) {
  const { t, v1 } = Object.fromEntries(header.split(',').map((part) => part.split('=')));
  if (!t || !v1 || !Buffer.isBuffer(body)) return false;
  const want = createHmac('sha256', secret).update(`${t}.`).update(body).digest();
  const got = Buffer.from(v1, 'hex');
  return got.length === want.length && timingSafeEqual(got, want);
}
