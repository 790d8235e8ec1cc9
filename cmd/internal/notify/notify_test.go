package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// deadProxy is an address that refuses.
const deadProxy = "127.0.0.1:1"

// net/http reads the environment once, so it is set for all tests.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		os.Setenv(name, "http://"+deadProxy)
	}
	goleak.VerifyTestMain(m)
}

var example = Message{
	Outcome: Return, Deploy: "1nga-kg91-xwp", Release: "20250101T000000Z-4f2c91d", Revision: "4f2c91d", Subject: "Fix <login> & more",
	Services: []string{"backend", "frontend"}, Host: "web1", By: "ada", Duration: 83400 * time.Millisecond,
	Error: "5xx rose from 0% to 12%\nnode: out of memory", Where: "backend and frontend on blue",
}

func TestAWebhookIsToldInTheFormOfSlack(t *testing.T) {
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body) != 1 {
			t.Errorf("body %v, %v", body, err)
		}
		user, password, _ := r.BasicAuth()
		got <- fmt.Sprint(r.Method, " ", r.URL, " ", r.Header.Get("Content-Type"), " ", user, password, "\n", body["text"])
	}))
	defer s.Close()
	if err := Send(t.Context(), strings.Replace(s.URL, "://", "://me:pass@", 1)+"/services/T0/B0?x=1", example); err != nil {
		t.Fatal(err)
	}
	want := `POST /services/T0/B0?x=1 application/json; charset=utf-8 mepass
:leftwards_arrow_with_hook: Traffic was returned: backend, frontend at 4f2c91d “Fix &lt;login&gt; &amp; more” on web1 after 1m23s
Error: 5xx rose from 0% to 12% node: out of memory
Traffic: backend and frontend on blue
Release: 20250101T000000Z-4f2c91d
By: ada
Deploy: 1nga-kg91-xwp`
	if text := <-got; text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestTheHeadlineIsShort(t *testing.T) {
	for want, m := range map[string]Message{
		"at 1a2b3c4d5e6f after 340ms": {Revision: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d", Duration: 340*time.Millisecond + time.Microsecond},
		"at abcdef012345 after 4.1s":  {Revision: "sha256:abcdef0123456789abcdef", Duration: 4*time.Second + 80*time.Millisecond},
		"at 4f2c91d after 2m4s":       {Revision: "4f2c91d", Duration: 2*time.Minute + 3600*time.Millisecond},
		" after 1ms":                  {Duration: time.Microsecond},
	} {
		if got := m.headline(); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want an end of %q", got, want)
		}
	}
}

func TestEachOutcomeSaysSoFirst(t *testing.T) {
	for outcome, want := range map[Outcome]string{
		Success: ":white_check_mark: Deployed backend", Failure: ":x: Deploy failed: backend",
		Return: ":leftwards_arrow_with_hook: Traffic was returned: backend", "odd<": "Deploy ended (odd&lt;): backend",
	} {
		if got := (Message{Outcome: outcome, Services: []string{"backend"}}).text(); got != want {
			t.Errorf("%s: %q, want %q", outcome, got, want)
		}
	}
}

func TestNothingThatOthersWroteIsMoreThanALine(t *testing.T) {
	for in, want := range map[string]string{
		"<!here> & <http://evil|you>": "&lt;!here&gt; &amp; &lt;http://evil|you&gt;", "a\r\nb\tc\x1b[31m\x00": "a b c[31m",
		"\u202egnp.exe": "gnp.exe", "bad\xff": "bad", "  x  ": "x",
	} {
		if got := escape(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := escape(strings.Repeat("ü", 1000)); len(got) > maxField+len("…") || !strings.HasSuffix(got, "ü…") {
		t.Errorf("%d bytes of 2000 are left: …%q", len(got), got[len(got)-8:])
	}
}

// receiver is a webhook by script: each try gets the next answer.
type receiver struct {
	answers []func(*http.Request) (*http.Response, error)
	at      []time.Time
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	n := len(r.at)
	r.at = append(r.at, time.Now())
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil, err
	}
	return r.answers[n](req)
}

// waits are the times between the tries.
func (r *receiver) waits() (all []time.Duration) {
	for i := range r.at[1:] {
		all = append(all, r.at[i+1].Sub(r.at[i]))
	}
	return all
}

func answer(status int, retryAfter, text string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		res := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}
		if retryAfter != "" {
			res.Header.Set("Retry-After", retryAfter)
		}
		return res, nil
	}
}

func broken(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

const secretURL = "https://hooks.example.com/services/T00000000/B00000000/tokenXYZtoken?key=queryXYZquery"

func TestOnlyWhatMayHelpIsTriedAgain(t *testing.T) {
	type answers = []func(*http.Request) (*http.Response, error)
	unknown := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "hooks.example.com"}}
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for name, test := range map[string]struct {
		answers answers
		waits   string
		err     string
	}{
		"200":             {answers{answer(200, "", "ok")}, "[]", ""},
		"204":             {answers{answer(204, "", "")}, "[]", ""},
		"400":             {answers{answer(400, "", "invalid_payload\n")}, "[]", "the webhook answered 400: invalid_payload"},
		"404 with a page": {answers{answer(404, "", "<html>no</html>")}, "[]", "the webhook answered 404"},
		"302":             {answers{answer(302, "", "")}, "[]", "the webhook answered 302"},
		"500, 200":        {answers{answer(500, "", ""), answer(200, "", "")}, "[1s]", ""},
		"reset, 429, 200": {answers{broken(reset), answer(429, "7", ""), answer(200, "", "")}, "[1s 7s]", ""},
		"429 for ever":    {answers{answer(429, "86400", ""), answer(429, "0", ""), answer(429, "", "rate_limited")}, "[30s 2s]", "the webhook answered 429: rate_limited"},
		"503 by date":     {answers{answer(503, "Sat, 01 Jan 2000 00:00:20 GMT", ""), answer(200, "", "")}, "[20s]", ""},
		"503 of the past": {answers{answer(503, "Fri, 31 Dec 1999 00:00:00 GMT", ""), answer(200, "", "")}, "[1s]", ""},
		"nonsense":        {answers{answer(503, "soon", ""), answer(200, "", "")}, "[1s]", ""},
		"silence":         {answers{silent, silent, silent}, "[11s 12s]", "the webhook did not answer in time"},
		"unknown":         {answers{broken(unknown), broken(unknown), broken(unknown)}, "[1s 2s]", "the webhook: dial: lookup HOST: no such host"},
		"broken":          {answers{broken(reset), broken(reset), broken(reset)}, "[1s 2s]", "the webhook: read: connection reset by peer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answers: test.answers}
				err := send(t.Context(), secretURL, example, r)
				if got := fmt.Sprint(r.waits()); got != test.waits || len(r.at) != len(test.answers) {
					t.Errorf("%d tries, waits %s, want %d and %s", len(r.at), got, len(test.answers), test.waits)
				}
				if got := text(err); got != test.err {
					t.Errorf("error %q, want %q", got, test.err)
				}
			})
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWhoIsCancelledDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		r := &receiver{answers: []func(*http.Request) (*http.Response, error){answer(500, "", ""), answer(500, "", "")}}
		if err := send(ctx, secretURL, example, r); err == nil || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("ended with %v after %s", err, time.Since(start))
		}
	})
}

func TestTheURLIsInNoError(t *testing.T) {
	type answers = []func(*http.Request) (*http.Response, error)
	secrets := []string{"hooks", "T00000000", "B00000000", "tokenXYZtoken", "queryXYZquery"}
	check := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", what)
			return
		}
		for _, secret := range secrets {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	for what, f := range map[string]func(*http.Request) (*http.Response, error){
		"a name that nobody knows":  broken(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "hooks.example.com"}}),
		"a certificate of others":   broken(errors.New("x509: certificate is valid for a.example, not hooks.example.com")),
		"an answer that repeats it": answer(400, "", "tokenXYZtoken is not known"),
		"an answer with the path":   answer(400, "", "/services/T00000000/B00000000/tokenXYZtoken"),
		"a broken answer":           broken(errors.New(`malformed HTTP response "tokenXYZtoken"`)),
		"a query":                   answer(403, "", "queryXYZquery"),
	} {
		synctest.Test(t, func(t *testing.T) {
			check(what, send(t.Context(), secretURL, example, &receiver{answers: answers{f, f, f}}))
		})
	}
	path := filepath.Join(t.TempDir(), "webhook")
	for what, target := range map[string]string{
		"another scheme": "ftp" + strings.TrimPrefix(secretURL, "https"), "no host": "https:///services/tokenXYZtoken",
		"a bad escape": "https://hooks.example.com/%zz/tokenXYZtoken", "a control character": secretURL + "\x7f", "a bad port": "https://hooks.example.com:tokenXYZtoken/",
	} {
		check(what, Send(t.Context(), target, example))
		if err := os.WriteFile(path, []byte(target), 0o600); err != nil {
			t.Fatal(err)
		}
		check(what+" in a file", Send(t.Context(), "file:"+path, example))
	}
}

func TestTheEnvironmentsProxyIsNotAsked(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := Send(ctx, "http://webhook.invalid/", example); err == nil || strings.Contains(err.Error(), deadProxy) {
		t.Errorf("sent by way of the proxy: %v", err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer elsewhere.Close()
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	err := Send(t.Context(), s.URL, example)
	if asked != 0 || text(err) != "notifying: the webhook answered 307" {
		t.Errorf("the other host was asked %d times; %v", asked, err)
	}
}

func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	if err := Send(t.Context(), s.URL, example); text(err) != "notifying: the webhook answered 400" {
		t.Error(err)
	}
}

func TestTheURLMayBeInAFileThatNobodyElseReads(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "webhook")
	if err := os.WriteFile(path, []byte(" "+s.URL+"/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Send(t.Context(), "file:"+path, example); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o644: "chmod 600 " + path, 0o640: "chmod 600 " + path, 0o602: "chmod 600 " + path} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := Send(t.Context(), "file:"+path, example); !strings.Contains(text(err), want) {
			t.Errorf("with mode %04o: %v", mode, err)
		}
	}
	long, pipe := filepath.Join(dir, "long"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(long, []byte(s.URL+"/"+strings.Repeat("x", maxURL)), 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		long: "longer than a URL", pipe: "not a regular file", dir: "not a regular file", filepath.Join(dir, "none"): "no such file",
	} {
		if err := Send(t.Context(), "file:"+target, example); !strings.Contains(text(err), want) {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
}
