package nginx_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/nginx"
)

// shape is one of the forms that an upstream file has been left in, and what it
// becomes.
type shape struct{ name, before, after string }

func shapes() []shape {
	return []shape{
		{
			"as the guide has it",
			"# Blue-Green\nupstream backend {\n    # Blue\n    server 127.0.0.1:5000;\n    # Green\n    # server 127.0.0.1:5001;\n\n    keepalive 32;\n}\n",
			"# Blue-Green\nupstream backend {\n    # Blue\n    server 127.0.0.1:5080;\n    # Green\n    # server 127.0.0.1:5001;\n\n    keepalive 32;\n}\n",
		},
		{
			"green serves, blue is commented out",
			"upstream backend {\n    # server 127.0.0.1:5000;  # Blue\n    server 127.0.0.1:5001;  # Green\n}\n",
			"upstream backend {\n    # server 127.0.0.1:5000;  # Blue\n    server 127.0.0.1:5080;  # Green\n    keepalive 32;\n}\n",
		},
		{
			"on one line",
			"upstream backend { server 127.0.0.1:5000; }\n",
			"upstream backend { server 127.0.0.1:5080; keepalive 32; }\n",
		},
		{
			"on one line without any space to spare",
			"upstream backend{server 127.0.0.1:5000;}",
			"upstream backend{server 127.0.0.1:5080; keepalive 32;}",
		},
		{
			"the brace behind the server",
			"upstream backend {\n\tserver 127.0.0.1:5000; }\n",
			"upstream backend {\n\tserver 127.0.0.1:5080; keepalive 32; }\n",
		},
		{
			"line ends of Windows and tabs",
			"upstream backend {\r\n\tserver 127.0.0.1:5000;\t# blue\r\n\t#server 127.0.0.1:5001;\r\n}\r\n",
			"upstream backend {\r\n\tserver 127.0.0.1:5080;\t# blue\r\n\tkeepalive 32;\r\n\t#server 127.0.0.1:5001;\r\n}\r\n",
		},
		{
			"no line end at the end",
			"upstream backend {\n  server 127.0.0.1:5000;\n}",
			"upstream backend {\n  server 127.0.0.1:5080;\n  keepalive 32;\n}",
		},
		{
			"a backup",
			"upstream backend {\n  server 127.0.0.1:5000;\n  server 127.0.0.1:5001 backup; # green\n  server 127.0.0.1:5001 backup;\n}\n",
			"upstream backend {\n  server 127.0.0.1:5080;\n  keepalive 32;\n  # green\n}\n",
		},
		{
			"the other one down, and both on one line",
			"upstream backend {\n  server 127.0.0.1:5001 down; server localhost:5000;\n}\n",
			"upstream backend {\n  server 127.0.0.1:5080; keepalive 32;\n}\n",
		},
		{
			"parameters",
			"upstream backend {\n  server 127.0.0.1:5000 weight=5 max_fails=3\tfail_timeout=30s;\n  least_conn;\n  keepalive 64;\n}\n",
			"upstream backend {\n  server 127.0.0.1:5080;\n  least_conn;\n  keepalive 64;\n}\n",
		},
		{
			"over several lines, with comments between",
			"upstream backend {\n  server # which\n    127.0.0.1:5000 # where\n    weight=5 # how\n  ;\n  server 127.0.0.1:5001 # gone\n    down;\n}\n",
			"upstream backend {\n  server # which\n    127.0.0.1:5080 # where\n     # how\n  ;\n  keepalive 32;\n # gone\n\n}\n",
		},
		{
			"a name, an IPv6 address, quotes",
			"upstream \"backend\" {\n  server 'localhost:5000';\n  server [::1]:5001 down;\n}\n",
			"upstream \"backend\" {\n  server 127.0.0.1:5080;\n  keepalive 32;\n}\n",
		},
		{
			"among others",
			"upstream other { server 10.0.0.1:5000; }\nupstream backend {\n  zone backend 64k;\n  server 127.0.0.1:5000;\n  ip_hash;\n  # the end\n}\nserver { location / { proxy_pass http://backend; } }\n",
			"upstream other { server 10.0.0.1:5000; }\nupstream backend {\n  zone backend 64k;\n  server 127.0.0.1:5080;\n  ip_hash;\n  keepalive 32;\n  # the end\n}\nserver { location / { proxy_pass http://backend; } }\n",
		},
	}
}

const ours = "127.0.0.1:5080"

func TestPointingAnUpstreamAtUsTouchesNothingElse(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			if got := pointed(t, s.before); got != s.after {
				t.Errorf("(-want +got):\n%s", cmp.Diff(s.after, got))
			}
		})
	}
}

func pointed(t *testing.T, before string) string {
	t.Helper()
	u := upstream(t, before)
	return string(nginx.Apply([]byte(before), u.PointTo(ours, true)))
}

func TestExchangeTurnsThingsRoundAsTheScriptsDid(t *testing.T) {
	for _, s := range []shape{
		{
			"a comment for the other one",
			"upstream backend {\r\n\tserver 127.0.0.1:5000;\r\n\t## server 127.0.0.1:5001; # green\r\n}\r\n",
			"upstream backend {\r\n\tserver 127.0.0.1:5001;\r\n\t## server 127.0.0.1:5000; # green\r\n}\r\n",
		},
		{
			"names, quotes and parameters",
			"upstream backend { server 'localhost:5001' weight=2; server [::1]:5000 backup; server 10.0.0.1:5000 down; }",
			"upstream backend { server localhost:5000 weight=2; server [::1]:5001 backup; server 10.0.0.1:5000 down; }",
		},
		{"only this block", "# server 127.0.0.1:5000;\nupstream backend { keepalive 1; }", "# server 127.0.0.1:5000;\nupstream backend { keepalive 1; }"},
	} {
		t.Run(s.name, func(t *testing.T) {
			u := upstream(t, s.before)
			got := string(nginx.Apply([]byte(s.before), u.Exchange("127.0.0.1:5000", "127.0.0.1:5001")))
			if got != s.after {
				t.Errorf("(-want +got):\n%s", cmp.Diff(s.after, got))
			}
		})
	}
}

func upstream(t *testing.T, src string) nginx.Upstream {
	t.Helper()
	c, err := nginx.Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range c.Upstreams() {
		if u.Name == "backend" {
			return u
		}
	}
	t.Fatalf("no upstream backend in %q", src)
	return nginx.Upstream{}
}

func TestWhichServersServe(t *testing.T) {
	for src, want := range map[string]string{
		"server a:1; server b:2;":             "a:1 b:2",
		"server a:1; server b:2 backup;":      "a:1",
		"server a:1 down; server b:2 backup;": "b:2",
		"# server a:1;\nserver b:2;":          "b:2",
		"server a:1 down;":                    "",
		"include servers;":                    "",
		"server 'a:1' weight=2 ;":             "a:1",
	} {
		var got []string
		for _, s := range upstream(t, "upstream backend {"+src+"}").Serving() {
			got = append(got, s.Address)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("in %q %q serve, want %q", src, got, want)
		}
	}
}
