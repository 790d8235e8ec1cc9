// Package config turns the configuration file into plain values for the other
// packages.
//
// # Promise
//
//   - Every key is one row of a table ([serviceKeys], [globalKeys]): its name, its
//     default, what is allowed, what it means and whether a change of it works
//     live. Reading, writing, comparing and the reference in docs/config.md all
//     follow that table, so none of them can drift from the others.
//   - A file is taken as a whole or not at all. All of its problems are reported
//     at once, each with line, column and key.
//   - Nothing is guessed: unknown keys, keys given twice, wrong types, anchors,
//     tags and a second document are refused.
//   - A file that others may write is refused.
//
// A [Config] is a plain value; nobody writes to one after [Load] returned it.
// [Watch] blocks, and the caller writes go.
package config
