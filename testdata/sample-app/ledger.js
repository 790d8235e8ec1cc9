import { openSync, writeSync } from 'node:fs';

// Ledger counts how often each id was seen. With a file name it also appends
// every sighting there before it counts, so that the file outlives a kill -9.
export class Ledger {
  #counts = new Map();
  #file;

  constructor(name) {
    if (name) this.#file = openSync(name, 'a');
  }

  add(id) {
    if (this.#file !== undefined) writeSync(this.#file, `${id}\n`);
    const count = this.count(id) + 1;
    this.#counts.set(id, count);
    return count;
  }

  count(id) {
    return this.#counts.get(id) ?? 0;
  }

  // lines yields "id count" for every id, in pieces of a useful size.
  * lines() {
    let piece = '';
    for (const [id, count] of this.#counts) {
      piece += `${id} ${count}\n`;
      if (piece.length > 64 * 1024) {
        yield piece;
        piece = '';
      }
    }
    yield piece;
  }
}
