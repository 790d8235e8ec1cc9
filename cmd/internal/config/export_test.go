package config

import (
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
	Settle   = settle
	Overlap  = overlap
	Nearest  = nearest
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

// WritableByOthers judges a file as the user with these ids would.
func WritableByOthers(info fs.FileInfo, uid, gid uint32) error {
	return notWritableByOthers("c.yaml", info, identity{uid, gid})
}

// Owner is what the system says of a file's owner.
func Owner(uid, gid uint32) any { return &syscall.Stat_t{Uid: uid, Gid: gid} }
