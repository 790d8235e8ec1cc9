// One slot of the frontend: the process that one systemd unit runs. It serves
// what build.js made and, like Next.js, nothing of any other build.
import { createReadStream, readFileSync, readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const {
  PORT = '3000',
  HOST = '127.0.0.1',
  SLOT = 'blue',
  BACKEND_URL = 'http://127.0.0.1:5080',
} = process.env;

const buildId = readFileSync('.next/BUILD_ID', 'utf8');
const manifest = JSON.parse(readFileSync('.next/build-manifest.json', 'utf8'));
const who = { slot: SLOT, revision: buildId, pid: process.pid };

// The names of a build are known when it starts, as with "next start".
const files = new Set(readdirSync('.next/static', { recursive: true }).map((name) => `/_next/static/${name}`));
const types = { '.js': 'application/javascript; charset=UTF-8', '.css': 'text/css; charset=UTF-8' };

const url = (name) => `/_next/static/${name.split('/').map(encodeURIComponent).join('/')}`;
const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

function html(res, status, title, props) {
  const data = JSON.stringify({ buildId, props }).replaceAll('<', '\\u003c');
  const body = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title>
${manifest.styles.map((f) => `<link rel="stylesheet" href="${url(f)}">`).join('\n')}
${[...manifest.scripts, `${buildId}/_buildManifest.js`].map((f) => `<script src="${url(f)}" defer></script>`).join('\n')}
</head><body><h1>${escape(title)}</h1><script id="__NEXT_DATA__" type="application/json">${data}</script></body></html>
`;
  res.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' });
  res.end(body);
}

function json(res, status, value) {
  res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  res.end(JSON.stringify(value));
}

function asset(req, res, path) {
  const file = `.next/static/${path.slice('/_next/static/'.length)}`;
  const { size, mtime } = statSync(file);
  const etag = `W/"${size.toString(16)}-${mtime.getTime().toString(16)}"`;
  const headers = {
    'Cache-Control': 'public, max-age=31536000, immutable',
    'Content-Type': types[extname(path)] ?? 'application/octet-stream',
    'Last-Modified': mtime.toUTCString(),
    ETag: etag,
  };
  if (req.headers['if-none-match'] === etag) {
    res.writeHead(304, headers).end();
    return;
  }
  res.writeHead(200, { ...headers, 'Content-Length': size });
  if (req.method === 'HEAD') res.end();
  else createReadStream(file).pipe(res);
}

// render is a page made on the server from what the backend says.
async function render(res) {
  try {
    const answer = await fetch(`${BACKEND_URL}/api/v1/health`, { signal: AbortSignal.timeout(10_000) });
    const { slot, revision } = await answer.json();
    html(res, 200, 'rendered on the server', { ...who, backend: { status: answer.status, slot, revision } });
  } catch (err) {
    html(res, 500, 'the backend did not answer', { ...who, error: String(err.cause ?? err) });
  }
}

const server = createServer((req, res) => {
  res.setHeader('X-Slot', SLOT);
  let path;
  try {
    path = decodeURIComponent(new URL(req.url, 'http://frontend').pathname);
  } catch {
    return html(res, 400, 'bad request', who);
  }
  if (files.has(path) && extname(path)) return asset(req, res, path);
  if (path === '/') return html(res, 200, 'welcome', who);
  if (path === '/healthz') return json(res, 200, { healthy: true, ...who });
  if (path === '/ssr') return render(res);
  return html(res, 404, 'This page could not be found.', who);
});

process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(1), 30_000).unref();
});

server.listen(Number(PORT), HOST, () => {
  console.log(`${SLOT} (${buildId}) listens on ${HOST}:${server.address().port}`);
});
