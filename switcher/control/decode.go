package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"unicode"
	"unicode/utf8"

	"charactier-proxy/switcher"
)

// Limits of what a request may bring.
const (
	maxBody         = 64 << 10
	maxReason       = 500 // bytes
	defaultHistory  = 20
	maxHistoryLimit = 10_000
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
	if r.Wait < 0 {
		return fmt.Errorf("%w: wait_ns is negative", ErrBadRequest)
	}
	return validReason(r.Reason)
}

func (r *HoldRequest) validate() error { return validReason(r.Reason) }

// validReason keeps out of the history what would harm the terminal of its
// reader.
func validReason(reason string) error {
	if len(reason) > maxReason {
		return fmt.Errorf("%w: the reason is %d bytes long, at most %d are kept", ErrBadRequest, len(reason), maxReason)
	}
	if !utf8.ValidString(reason) {
		return fmt.Errorf("%w: the reason is not UTF-8", ErrBadRequest)
	}
	for _, r := range reason {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: the reason contains %q; write it in one line of plain text", ErrBadRequest, r)
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
