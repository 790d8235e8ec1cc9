package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"charactier-proxy/switcher"
)

// Limits of what a request may bring.
const (
	maxBody         = 64 << 10
	defaultHistory  = 20
	maxHistoryLimit = 10_000
	maxBake         = 24 * time.Hour
	maxStep         = 100 // bytes
)

// Bytes that the history takes of a reason, and of an error or a warning.
const (
	MaxReason = 500
	MaxText   = 4 << 10
)

// decode reads one strict JSON value: no unknown field, nothing behind it. An
// empty body is the zero value, so that curl -X POST needs none.
func decode(body io.Reader, into any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == io.EOF {
		return nil
	}
	if err == nil {
		if _, err = dec.Token(); err == io.EOF {
			return nil
		}
		if err == nil {
			err = errors.New("more than one JSON value")
		}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fmt.Errorf("%w: at most %d bytes", ErrTooLarge, tooLarge.Limit)
	}
	return fmt.Errorf("%w: %w", ErrBadRequest, err)
}

func (r *SwitchRequest) validate() error {
	if r.To != "" {
		if _, err := switcher.ParseSlot(string(r.To)); err != nil {
			return err
		}
	}
	if r.Bake > maxBake {
		return fmt.Errorf("%w: bake_ns is above %s", ErrBadRequest, maxBake)
	}
	if r.Wait < 0 {
		return fmt.Errorf("%w: wait_ns is negative", ErrBadRequest)
	}
	return validReason(r.Reason)
}

func (r *HoldRequest) validate() error { return validReason(r.Reason) }

func (r *UpgradeRequest) validate() error { return validReason(r.Reason) }

func (r *ReserveRequest) validate() error {
	if r.Kind != switcher.KindDeploy && r.Kind != switcher.KindRollback {
		return fmt.Errorf("%w: a reservation is for a deploy or a rollback, not for %q", ErrBadRequest, printable(string(r.Kind), maxStep))
	}
	if err := validMoves(r.Moves); err != nil {
		return err
	}
	return validReason(r.Reason)
}

func (r *ReserveStep) validate() error {
	switch r.Level {
	case "":
		r.Level = switcher.LevelInfo
	case switcher.LevelInfo, switcher.LevelWarn, switcher.LevelError:
	default:
		return fmt.Errorf("%w: level is %q", ErrBadRequest, printable(r.Level, maxStep))
	}
	if err := validText("step", r.Step, maxStep); err != nil {
		return err
	}
	return validText("text", r.Text, MaxText)
}

func (r *ReserveEnd) validate() error {
	switch r.Record.Outcome {
	case switcher.Done, switcher.Unchanged, switcher.Failed, switcher.Refused, switcher.Aborted, switcher.Returned, switcher.Interrupted:
	default:
		return fmt.Errorf("%w: outcome is %q", ErrBadRequest, printable(string(r.Record.Outcome), maxStep))
	}
	if err := validMoves(r.Record.Moves); err != nil {
		return err
	}
	for _, name := range r.Exonerate {
		if err := validText("exonerate", name, MaxReason); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"error": r.Record.Error, "warning": r.Record.Warning} {
		if err := validText(name, text, MaxText); err != nil {
			return err
		}
	}
	return validReason(r.Record.Reason)
}

func validMoves(moves []switcher.Move) error {
	for _, m := range moves {
		if _, err := switcher.ParseSlot(string(m.To)); err != nil {
			return err
		}
		for _, name := range []string{m.Service, m.FromRelease, m.ToRelease} {
			if err := validText("name", name, MaxReason); err != nil {
				return err
			}
		}
	}
	return nil
}

func validReason(reason string) error { return validText("reason", reason, MaxReason) }

// validText keeps out of the history what would harm the terminal of its
// reader.
func validText(what, text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%w: the %s is %d bytes long, at most %d are kept", ErrBadRequest, what, len(text), limit)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%w: the %s is not UTF-8", ErrBadRequest, what)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: the %s contains %q; write it in one line of plain text", ErrBadRequest, what, r)
		}
	}
	return nil
}

func historyLimit(q url.Values) (int, error) {
	n, err := number(q, "limit", defaultHistory)
	if err == nil && (n == 0 || n > maxHistoryLimit) {
		err = fmt.Errorf("%w: limit must be 1 to %d", ErrBadRequest, maxHistoryLimit)
	}
	return int(n), err
}

// number reads an unsigned query parameter.
func number(q url.Values, key string, otherwise uint64) (uint64, error) {
	text := q.Get(key)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s=%q is not a number", ErrBadRequest, key, text)
	}
	return n, nil
}
