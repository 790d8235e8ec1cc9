package switcher

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// formatVersion is that of the state file. A program refuses a version newer
// than its own rather than lose what it does not understand.
const formatVersion = 1

// What a state file can be wrong with.
var (
	errDamaged = errors.New("damaged")
	errFuture  = errors.New("written by a newer charactier-proxy")
)

// envelope is the state file. It is JSON that a person can read; the checksum
// is the SHA-256 of the state without the white space, so that
//
//	jq -cj .state state.json | sha256sum
//
// tells it too.
type envelope struct {
	Format int             `json:"format"`
	SHA256 string          `json:"sha256"`
	State  json.RawMessage `json:"state"`
}

func encodeState(st State) ([]byte, error) {
	payload, err := marshal(st)
	if err != nil {
		return nil, fmt.Errorf("encoding the state: %w", err)
	}
	raw, err := marshal(envelope{Format: formatVersion, SHA256: checksum(payload), State: payload})
	if err != nil {
		return nil, fmt.Errorf("encoding the state: %w", err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("encoding the state: %w", err)
	}
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}

// marshal is json.Marshal without the escapes that only HTML needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func checksum(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// decodeState accepts what encodeState made and nothing else. The error wraps
// errDamaged or errFuture.
func decodeState(raw []byte) (State, error) {
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return State{}, fmt.Errorf("%w: it is not JSON: %w", errDamaged, err)
	}
	if e.Format > formatVersion {
		return State{}, fmt.Errorf("%w: its format is %d and this program knows %d", errFuture, e.Format, formatVersion)
	}
	if e.Format != formatVersion || len(e.State) == 0 {
		return State{}, fmt.Errorf("%w: it has no format or no state", errDamaged)
	}
	var payload bytes.Buffer
	if err := json.Compact(&payload, e.State); err != nil {
		return State{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if checksum(payload.Bytes()) != e.SHA256 {
		return State{}, fmt.Errorf("%w: its checksum is wrong, so it was torn or changed by hand", errDamaged)
	}
	var st State
	if err := json.Unmarshal(payload.Bytes(), &st); err != nil {
		return State{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := st.check(); err != nil {
		return State{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return st, nil
}
