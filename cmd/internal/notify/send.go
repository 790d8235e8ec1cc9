package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	tries      = 3
	tryTimeout = 10 * time.Second // of each
	firstWait  = time.Second      // doubled for each further one
	maxWait    = 30 * time.Second // whatever the receiver asks for
	maxAnswer  = 4 << 10
)

// Send tells the webhook that target names, an http or https URL or file:/PATH of
// a file that holds one, how a deploy ended. It tries again where that may help,
// for a minute and a half at the most, or until ctx ends. No redirect is followed:
// the message is for nobody else.
func Send(ctx context.Context, target string, m Message) error {
	// No proxy from the environment, which may be that of whoever ran sudo.
	transport := &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	if err := send(ctx, target, m, transport); err != nil {
		return fmt.Errorf("notifying: %w", err)
	}
	return nil
}

func send(ctx context.Context, target string, m Message, by http.RoundTripper) error {
	u, err := webhook(target)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"text": m.text()})
	if err != nil {
		return err
	}
	wait := firstWait
	for n := 1; ; n++ {
		again, asked, err := post(ctx, by, u, body)
		if err == nil || !again || n == tries {
			return err
		}
		if !sleep(ctx, min(max(wait, asked), maxWait)) {
			return err
		}
		wait *= 2
	}
}

// post tries once, and tells whether and after which time another try may help.
func post(ctx context.Context, by http.RoundTripper, u *url.URL, body []byte) (again bool, asked time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return false, 0, errors.New("the webhook's URL cannot be used") // err repeats it
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "charactier-proxy")
	if password, ok := u.User.Password(); ok {
		req.SetBasicAuth(u.User.Username(), password)
	}
	res, err := by.RoundTrip(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return true, 0, errors.New("the webhook did not answer in time")
	case err != nil:
		return true, 0, unreachable(err, u)
	}
	defer res.Body.Close() //nolint:errcheck // it was read as far as it matters
	if res.StatusCode/100 == 2 {
		return false, 0, nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // what there is of it
	again = res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500
	return again, retryAfter(res.Header), refusal(res.StatusCode, string(text), u)
}

// unreachable tells why nothing was answered, without the host.
func unreachable(err error, u *url.URL) error {
	text := strings.ReplaceAll(err.Error(), u.Hostname(), "HOST")
	if tells(text, u) {
		text = "it cannot be talked to"
	}
	return errors.New("the webhook: " + text)
}

// plainWords are what Slack and others say when they refuse, such as
// "invalid_payload" and "channel is archived".
var plainWords = regexp.MustCompile(`^[A-Za-z_ .,'-]{1,100}$`)

func refusal(status int, text string, u *url.URL) error {
	text = strings.TrimSpace(text)
	if !plainWords.MatchString(text) || tells(text, u) {
		return fmt.Errorf("the webhook answered %d", status)
	}
	return fmt.Errorf("the webhook answered %d: %s", status, text)
}

// tells reports whether a text has a word of the address in it.
func tells(text string, u *url.URL) bool {
	secret := u.String() + " " + u.Path
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(word) >= 6 && strings.Contains(secret, word) {
			return true
		}
	}
	return false
}

// retryAfter reads the field of that name (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return time.Until(at)
	}
	return 0
}

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
