// A build knows its revision: its id is made of it, and so are the chunks that a
// browser loads.
const { REVISION = 'development' } = process.env;

module.exports = {
  generateBuildId: () => REVISION,
  env: { REVISION },
  experimental: { isrFlushToDisk: false },
};
