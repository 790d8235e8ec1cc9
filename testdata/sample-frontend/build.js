// Builds .next as "next build" does, as far as a browser can tell: a build id,
// the files below .next/static, and a manifest that says which of them a page
// needs.
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const { REVISION = 'development' } = process.env;
const buildId = REVISION.replaceAll(/[^A-Za-z0-9_-]/g, '-');

rmSync('.next', { recursive: true, force: true });

// emit writes a file below .next/static and returns its name there.
function emit(name, content) {
  const file = join('.next/static', name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return name;
}

// hashed puts the hash of the content into the name: who asks for the name gets
// this content or nothing.
function hashed(name, extension, content) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 16);
  return emit(`${name}-${hash}${extension}`, content);
}

const framework = hashed('chunks/framework', '.js', '// the same in every release\nglobalThis.framework = true;\n');
const lazy = hashed('chunks/lazy', '.js', `export const revision = ${JSON.stringify(REVISION)};\n`);
const page = hashed('chunks/app/[slug]/page', '.js', `globalThis.page = ${JSON.stringify(REVISION)};\n`);
const main = hashed('chunks/main', '.js', `// loaded when somebody clicks, perhaps hours after the page
globalThis.click = () => import(${JSON.stringify(`/_next/static/${lazy}`)});
globalThis.revision = ${JSON.stringify(REVISION)};
`);
const css = hashed('css/style', '.css', `body::after { content: ${JSON.stringify(REVISION)}; }\n`);

const manifest = { buildId, scripts: [framework, main, page], lazy: [lazy], styles: [css] };
emit(`${buildId}/_buildManifest.js`, `self.__BUILD_MANIFEST=${JSON.stringify(manifest)};\n`);
emit(`${buildId}/_ssgManifest.js`, 'self.__SSG_MANIFEST=new Set([]);\n');
writeFileSync('.next/build-manifest.json', `${JSON.stringify(manifest, null, 2)}\n`);
writeFileSync('.next/BUILD_ID', buildId);
console.log(`built ${buildId}`);
