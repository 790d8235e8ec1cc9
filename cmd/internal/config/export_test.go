package config

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"syscall"
)

// What tests outside of the package look into.

const (
	Quiet    = quiet
	Patience = patience
	MaxSize  = maxSize
)

var (
	Overlap  = overlap
	Short    = short
	Duration = parseDuration
	Size     = parseBytes
)

// KeyInfo is one row of the tables as the reference shows it.
type KeyInfo struct {
	Name, Type, Preset, Allowed, Change, Meaning string
	Value                                        any // pointer to the value
}

func infos(fields []field) []KeyInfo {
	all := make([]KeyInfo, len(fields))
	for i, f := range fields {
		all[i] = KeyInfo{f.name, typeName(f.at), f.preset, f.allowed.allowed, string(f.change), f.meaning, f.at}
	}
	return all
}

// ServiceKeys and GlobalKeys are the two tables.
func ServiceKeys(s *Service) []KeyInfo { return infos(fieldsOf(serviceKeys(), s)) }

func GlobalKeys(c *Config) []KeyInfo { return infos(fieldsOf(globalKeys(), c)) }

// BuiltinAddresses are the defaults of [BuiltinService] alone.
func BuiltinAddresses() map[string]string { return builtinAddresses() }

// NewService has no values.
func NewService(name string) *Service { return newService(name) }

// Annotated is the default configuration with each key's meaning above it.
func Annotated(comment func(meaning, indent string) string) string {
	return writeYAML(Default().fields(), func(f field, indent string) string { return comment(f.meaning, indent) })
}

// WatchWith is WatchSince on a file system of the test's own: version is the
// file's text, empty if there is none, and begin returns the events.
func WatchWith(ctx context.Context, since string, text func() string, begin func() (<-chan struct{}, error), changed func()) error {
	version := func(text string) Version {
		if text == "" {
			return Version{}
		}
		return Version{sha256.Sum256([]byte(text))}
	}
	w := &watch{
		seen: version(since), changed: changed,
		version: func() Version { return version(text()) },
		begin: func() (vigil, error) {
			events, err := begin()
			return vigil{events, func() {}, func() error { return nil }}, err
		},
	}
	return w.run(ctx)
}

// WritableByOthers judges a file as the user with these ids would.
func WritableByOthers(info fs.FileInfo, uid, gid uint32) error {
	return notWritableByOthers("c.yaml", info, identity{uid, gid})
}

// Owner is what the system says of a file's owner.
func Owner(uid, gid uint32) any { return &syscall.Stat_t{Uid: uid, Gid: gid} }
