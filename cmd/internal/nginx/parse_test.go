package nginx_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/nginx"
)

func TestWordsAreThoseOfNginx(t *testing.T) {
	for src, want := range map[string]string{
		`a b;`:                        `a|b`,
		"a\t\r\nb ;":                  `a|b`,
		`a "b c" 'd;e' f#g;`:          `a|b c|d;e|f#g`,
		`a b\;c "d\"e" f\ g;`:         `a|b\;c|d"e|f\ g`,
		`set $a ${b}c$d;`:             `set|$a|${b}c$d`,
		`a x}y;`:                      `a|x}y`,
		`if ("$a" = "b") {}`:          `if|("$a"|=|b|)`,
		"a # b;\nc;":                  `a|c`,
		`log_format x '"$a" {' "\t";`: "log_format|x|\"$a\" {|\t",
	} {
		c, err := nginx.Parse([]byte(src))
		if err != nil {
			t.Errorf("%q: %v", src, err)
			continue
		}
		d := c.Directives[0]
		if got := strings.Join(append([]string{d.Name()}, d.Args()...), "|"); got != want {
			t.Errorf("%q has the words %q, want %q", src, got, want)
		}
	}
}

func TestWhatCannotBeDividedIsRefusedWithItsLine(t *testing.T) {
	for src, want := range map[string]string{
		"a;\nb":                   "line 2: the file ends within the directive b",
		"a;\n}":                   `line 2: "}" where a directive should begin`,
		"a {\n":                   "line 2: the file ends within a block",
		"a {\nb }\n":              `line 2: "}" within the directive b`,
		"\n;":                     `line 2: ";" where a directive should begin`,
		"\n\na 'b;":               "line 3: the file ends within the directive a",
		strings.Repeat("a{", 200): "line 1: more than 100 blocks are nested",
	} {
		if _, err := nginx.Parse([]byte(src)); err == nil || err.Error() != want {
			t.Errorf("%.20q: %v, want %s", src, err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"127.0.0.1:5000", "127.0.0.1:5000", true},
		{"localhost:5000", "127.0.0.1:5000", true},
		{"[::1]:5000", "127.0.0.1:5000", true},
		{"LOCALHOST:5000", "[::]:5000", true},
		{"127.0.0.1:5000", "127.0.0.1:5001", false},
		{"10.0.0.1:5000", "127.0.0.1:5000", false},
		{"localhost", "127.0.0.1:80", true},
		{"unix:/run/a", "unix:/run/a", true},
		{"unix:/run/a", "unix:/run/b", false},
		{"backend", "127.0.0.1:80", false},
	} {
		if got := nginx.SameAddress(c.a, c.b); got != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

func TestHowLongConnectionsAreKept(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"keepalive_timeout 60s;":      time.Minute,
		"keepalive_timeout 90;":       90 * time.Second,
		"keepalive_timeout '1m 30s';": 90 * time.Second,
		"keepalive_timeout 1h5ms;":    time.Hour + 5*time.Millisecond,
		"keepalive_timeout $x;":       nginx.DefaultKeepalive,
		"":                            nginx.DefaultKeepalive,
	} {
		if got := upstream(t, "upstream backend { server a; "+value+"}").Keepalive(); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

const site = `
map $x $to { default http://127.0.0.1:5001; a backend; }
server {
	listen 80; listen [::]:443 ssl; listen unix:/run/n proxy_protocol;
	server_name _ *.example.com example.com;
	location / { proxy_pass http://localhost:3000; }
	location /api/ { if ($x) { return 403; } proxy_pass http://backend/v1; }
	location = /api/exact { return 204; }
	location ~* \.(js|css)$ { root /srv; }
	location ^~/assets/ { set $y "http://127.0.0.1:5000$uri"; proxy_pass $y; }
}
server { location /x { grpc_pass grpc://unix:/run/g:/path; } }
`

func TestSites(t *testing.T) {
	c, err := nginx.Parse([]byte(site))
	if err != nil {
		t.Fatal(err)
	}
	want := []nginx.Listen{
		{Network: "tcp", Address: "127.0.0.1:80"}, {Network: "tcp", Address: "[::1]:443", TLS: true},
		{Network: "unix", Address: "/run/n", Proxied: true},
	}
	sites := c.Sites()
	if diff := cmp.Diff(want, sites[0].Listens); diff != "" {
		t.Errorf("it listens (-want +got):\n%s", diff)
	}
	if got := sites[0].Name(); got != "example.com" {
		t.Errorf("it is named %q", got)
	}
	for path, want := range map[string]string{
		"/": "localhost:3000", "/api/v1/health": "backend", "/api/exact": "", "/api/a.JS": "", "/assets/a.js": "", "/assets": "localhost:3000",
	} {
		if got, _ := sites[0].Locate(path); got.Pass != want {
			t.Errorf("%s is passed to %q, want %q", path, got.Pass, want)
		}
	}
}

func TestPasses(t *testing.T) {
	c, err := nginx.Parse([]byte(site))
	if err != nil {
		t.Fatal(err)
	}
	want := []nginx.Pass{
		{2, "default http://127.0.0.1:5001", "127.0.0.1:5001"},
		{6, "proxy_pass http://localhost:3000", "localhost:3000"},
		{7, "proxy_pass http://backend/v1", "backend"},
		{10, "set $y http://127.0.0.1:5000$uri", "127.0.0.1:5000"},
		{10, "proxy_pass $y", ""},
		{12, "grpc_pass grpc://unix:/run/g:/path", "unix:/run/g"},
	}
	if diff := cmp.Diff(want, c.Passes()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A whole configuration with all that is odd in it is read.
func TestAWholeConfigurationIsRead(t *testing.T) {
	src, err := os.ReadFile("testdata/whole.conf")
	if err != nil {
		t.Fatal(err)
	}
	c, err := nginx.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Setting("pid"); got != "/run/nginx.pid" {
		t.Errorf("pid is %q", got)
	}
	if n := len(c.Upstreams()); n != 2 {
		t.Errorf("%d upstreams, want 2", n)
	}
}
