// Clients of the sample app's streams that count what they miss:
//
//   node clients.js http://127.0.0.1:80 [EACH]
//
// opens so many of each kind (4) and keeps them open until its input ends; then it
// prints one line of JSON. What comes again when a stream ends is up to the
// libraries, or to what any client would do.
import http from 'node:http';
import { EventSource } from 'eventsource';
import { WebSocket } from 'ws';

const [base, each = '4'] = process.argv.slice(2);
const path = '/api/v1/events?interval=20&heartbeat=70&retry=50';
const count = {
  events: 0, // that came, by whichever kind
  lost: 0, // numbers that were left out, or came twice
  cut: 0, // streams that ended within an event or a message, or broke off
  ends: 0, // streams that ended, of the two kinds of event stream
  refused: 0, // answers other than 200 or 101, after which an EventSource gives up
  slots: {}, // which slots were heard
  closes: {}, // WebSockets by the code that they were closed with
  errors: {}, // what went wrong otherwise, by text
};
let leaving = false;

const add = (counts, key) => { counts[key] = (counts[key] ?? 0) + 1; };

// numbered checks that each number comes once and in its turn.
function numbered() {
  let last = 0;
  return {
    get last() { return last; },
    take({ id, slot }) {
      count.events++;
      add(count.slots, slot);
      if (id !== last + 1) count.lost++;
      last = id;
    },
  };
}

// The library for event streams, which does not tell how one ended.
function eventSource() {
  const { take } = numbered();
  const source = new EventSource(base + path);
  source.addEventListener('tick', (e) => take(JSON.parse(e.data)));
  source.addEventListener('error', (e) => {
    if (leaving) return;
    count.ends++;
    if (e.code) count.refused++;
    if (source.readyState === EventSource.CLOSED) add(count.errors, `an EventSource gave up: ${e.code} ${e.message}`);
  });
  return () => source.close();
}

// The same by hand, for how it ends.
function rawEvents() {
  const seen = numbered();
  let req;
  const open = () => {
    let text = '';
    let ended = false;
    const again = () => {
      if (ended || leaving) return;
      ended = true;
      count.ends++;
      setTimeout(open, 50);
    };
    req = http.get(base + path, { agent: false, headers: { Accept: 'text/event-stream', 'Last-Event-ID': seen.last } }, (res) => {
      if (res.statusCode !== 200) count.refused++;
      res.setEncoding('utf8');
      res.on('data', (part) => {
        const events = (text + part).split('\n\n');
        text = events.pop();
        for (const event of events) {
          const data = /^data: (.*)$/m.exec(event);
          if (data) seen.take(JSON.parse(data[1]));
        }
      });
      res.on('error', () => {});
      res.on('close', () => {
        if (!leaving && (!res.complete || text !== '')) {
          count.cut++;
          add(count.errors, `an event stream ended, complete: ${res.complete}, with ${JSON.stringify(text.slice(0, 20))}`);
        }
        again();
      });
    });
    req.on('error', (err) => {
      if (!leaving && !req.res) add(count.errors, `asking for events: ${err.code ?? err.message}`);
      again();
    });
  };
  open();
  return () => req.destroy();
}

// WebSockets, which say which number they want next.
function webSocket() {
  const seen = numbered();
  let socket;
  const open = () => {
    socket = new WebSocket(`${base.replace('http', 'ws')}/ws?interval=20&after=${seen.last}`);
    socket.on('message', (data) => seen.take(JSON.parse(data)));
    socket.on('unexpected-response', (_, res) => { count.refused++; res.resume(); });
    socket.on('error', (err) => { if (!leaving) add(count.errors, `a WebSocket: ${err.code ?? err.message}`); });
    socket.on('close', (code) => {
      if (leaving) return;
      add(count.closes, code);
      if (code === 1006) count.cut++;
      setTimeout(open, 50);
    });
  };
  open();
  return () => socket.terminate();
}

const leave = [eventSource, rawEvents, webSocket].flatMap((kind) => Array.from({ length: Number(each) }, kind));
console.log('open');
process.stdin.resume();
process.stdin.on('end', () => {
  leaving = true;
  leave.forEach((go) => go());
  process.stdout.write(`${JSON.stringify(count)}\n`, () => process.exit(0));
});
