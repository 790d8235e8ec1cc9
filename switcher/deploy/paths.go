package deploy

import "path/filepath"

// Dir is the directory that deploys are written down in, below the root; each has
// a directory of its own there, with its journal and its logs.
func Dir(root string) string { return filepath.Join(root, "deploys") }

// LockPath is the file that a command which deploys has locked.
func LockPath(root string) string { return filepath.Join(Dir(root), "lock") }

// JournalPath is the journal of a deploy.
func JournalPath(root, id string) string { return journalIn(Dir(root), id) }

// LogPath is the log of a deploy.
func LogPath(root, id string) string { return filepath.Join(Dir(root), id, "log") }

func journalIn(deploys, id string) string { return filepath.Join(deploys, id, "journal.jsonl") }
