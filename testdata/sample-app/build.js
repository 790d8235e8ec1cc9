// "npm run build": makes dist/src/index.js, which the example units start. It
// says which revision it is, and has the settings of release.json, if there is
// one: a release may be made sick that way.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const settings = existsSync('release.json') ? JSON.parse(readFileSync('release.json', 'utf8')) : {};
if (settings.BUILD_FAILS) {
  console.error(settings.BUILD_FAILS);
  process.exit(1);
}
const { REVISION = 'development' } = process.env;
mkdirSync('dist/src', { recursive: true });
writeFileSync('dist/src/index.js', `// built by build.js
const SLOT = process.env.PORT === '5001' ? 'green' : 'blue';
Object.assign(process.env, ${JSON.stringify({ REVISION, ...settings })}, { SLOT });
await import('../../server.js');
`);
console.log(`built ${REVISION}`);
