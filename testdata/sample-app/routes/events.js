import express from 'express';

// events is an event stream: numbered events, a retry time for the browser, and
// a heartbeat comment. A client that comes back with Last-Event-ID goes on with
// the next number, whichever slot answers.
//
//   ?interval=MS between events (1000)   ?heartbeat=MS (15000)
//   ?count=N events, then the stream ends (without end)   ?retry=MS (1000)
export function events({ slot, revision }) {
  const router = express.Router();

  router.get('/events', (req, res) => {
    const { interval = 1000, heartbeat = 15_000, count = Infinity, retry = 1000 } = req.query;
    const first = Number(req.get('Last-Event-ID') ?? 0) + 1;
    const last = first + Number(count) - 1;

    res.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache',
      'X-Accel-Buffering': 'no', // nginx passes the stream on as it comes
    });
    res.write(`retry: ${Number(retry)}\n\n`);

    let id = first;
    const send = () => {
      res.write(`id: ${id}\nevent: tick\ndata: ${JSON.stringify({ id, slot, revision })}\n\n`);
      if (id++ >= last) res.end();
    };
    const timers = [
      setInterval(send, Number(interval)),
      setInterval(() => res.write(': heartbeat\n\n'), Number(heartbeat)),
    ];
    res.on('close', () => timers.forEach(clearInterval));
    send();
  });

  return router;
}
