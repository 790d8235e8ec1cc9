package doctor

import (
	"slices"
	"strings"
	"testing"

	"charactier-proxy/cmd/internal/config"
)

func TestNginxIsReadAsItReadsItself(t *testing.T) {
	n := Nginx{Directives: ParseNginx(`# configuration file /etc/nginx/nginx.conf:
worker_processes auto; # not; a { block
http {
	log_format main '$remote_addr "$request" {';
	include /etc/nginx/sites-enabled/*;
	include conf.d/*.conf;
	include nowhere/*.conf;
}

# configuration file /etc/nginx/sites-enabled/site:` + "\r" + `
server {` + "\r" + `
  server_name example.jp *.example.jp _ "quoted.jp";
  location ~ "^/a{1,2};$" { proxy_pass http://${up}; }
  location / {
    proxy_pass
       http://127.0.0.1:5080/;
    if ($a = "}") { proxy_pass "http://unix:/run/x.sock:/y"; }
  }
}
# configuration file /etc/nginx/conf.d/up.conf:
# server 127.0.0.1:5000;
upstream backend {
  #server 127.0.0.1:5000;
  server localhost:5001 down;
  server 127.0.0.1:5080 max_fails=0;
}
include up.conf;`)}
	var hosts []string
	for _, r := range n.all() {
		hosts = append(hosts, r.pass.at()+" "+passHost(r.pass))
	}
	want := []string{
		"/etc/nginx/sites-enabled/site:3 ${up}",
		"/etc/nginx/sites-enabled/site:5 127.0.0.1:5080",
		"/etc/nginx/sites-enabled/site:7 unix:/run/x.sock",
	}
	if !slices.Equal(hosts, want) {
		t.Errorf("proxy_pass:\n%s", strings.Join(hosts, "\n"))
	}
	if got := n.serverNames(); !slices.Equal(got, []string{"example.jp", "quoted.jp"}) {
		t.Errorf("names of sites: %q", got)
	}
	for address, want := range map[string]int{"127.0.0.1:5000": 0, "127.0.0.1:5001": 0, "127.0.0.1:5080": 1} {
		if got := n.upstreamServers(address); len(got) != want {
			t.Errorf("%d servers are %s, want %d", len(got), address, want)
		}
	}
	if got := n.upstreamServers("127.0.0.1:5080"); len(got) == 1 && got[0].at() != "/etc/nginx/conf.d/up.conf:5" {
		t.Errorf("the server stands at %s", got[0].at())
	}
}

func TestNginxThatIsCutShortIsReadToItsEnd(t *testing.T) {
	whole := soundNginx
	for i := range whole {
		n := Nginx{Directives: ParseNginx(whole[:i])}
		n.serverNames()
		n.routes(&Service{Config: config.Default().Services["backend"]})
	}
}

func TestSettingsOfALocationComeFromAround(t *testing.T) {
	n := Nginx{Directives: ParseNginx(`# configuration file /n:
http {
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  server {
    location /a { proxy_pass http://a; }
    location /b { proxy_pass http://b; proxy_set_header X-Other 1; }
  }
}`)}
	for _, r := range n.all() {
		if r.setting("proxy_http_version") == nil {
			t.Errorf("%s: no version", r.pass.at())
		}
		if inherits := passHost(r.pass) == "a"; (r.header("connection") != nil) != inherits {
			t.Errorf("%s: a block that sets one field inherits none, any other all", r.pass.at())
		}
	}
}
