package nginx_test

import (
	"bytes"
	"testing"

	"charactier-proxy/cmd/internal/nginx"
)

// FuzzTokens holds N1.
func FuzzTokens(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		at := 0
		for _, token := range nginx.Tokens(src) {
			if token.Start != at || token.End <= token.Start {
				t.Fatalf("a token from %d to %d where the last one ended at %d", token.Start, token.End, at)
			}
			at = token.End
		}
		if at != len(src) {
			t.Fatalf("the tokens end at %d of %d", at, len(src))
		}
	})
}

// FuzzPointTo holds N2: what is outside of the block stays, and in the block
// there is one server in the end, ours, beside all that was no server. What is
// done twice changes nothing more.
func FuzzPointTo(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := nginx.Parse(src)
		if err != nil {
			return
		}
		c.Sites()
		c.Passes()
		for i, u := range c.Upstreams() {
			if len(u.Serving()) == 0 {
				continue
			}
			nginx.Apply(src, u.Exchange("127.0.0.1:5000", "127.0.0.1:5001"))
			out := nginx.Apply(src, u.PointTo(ours, true))
			checkPointed(t, src, out, u, i)
		}
	})
}

func checkPointed(t *testing.T, src, out []byte, u nginx.Upstream, i int) {
	t.Helper()
	start, end := u.Span()
	if !bytes.HasPrefix(out, src[:start]) || !bytes.HasSuffix(out, src[end:]) {
		t.Fatalf("something outside of the block changed:\n%q\n%q", src, out)
	}
	again, err := nginx.Parse(out)
	if err != nil {
		t.Fatalf("the result cannot be read: %v\n%q\n%q", err, src, out)
	}
	got := again.Upstreams()[i]
	if len(got.Servers) != 1 || got.Servers[0].Address != ours || got.Name != u.Name {
		t.Fatalf("the servers are %+v\n%q\n%q", got.Servers, src, out)
	}
	if comments(src) != comments(out) {
		t.Fatalf("a comment changed:\n%q\n%q", src, out)
	}
	if twice := nginx.Apply(out, got.PointTo(ours, true)); !bytes.Equal(twice, out) {
		t.Fatalf("done again, it changes something:\n%q\n%q", out, twice)
	}
}

// comments are those of a file, joined.
func comments(src []byte) string {
	var all []byte
	for _, token := range nginx.Tokens(src) {
		if token.Kind == nginx.Comment {
			all = append(append(all, bytes.TrimRight(src[token.Start:token.End], "\r")...), '\n')
		}
	}
	return string(all)
}

func seed(f *testing.F) {
	for _, s := range shapes() {
		f.Add([]byte(s.before))
		f.Add([]byte(s.after))
	}
	f.Add([]byte(site))
	f.Add([]byte("a \"b\\\" 'c"))
	f.Add([]byte("upstream a{server b c}d${{;}"))
}
