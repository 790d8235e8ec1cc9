package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// nginxFiles are the guide's, where the guide has them.
const (
	guideConf = `user root;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
    access_log off;
    include /etc/nginx/conf.d/*.conf;
    include /etc/nginx/sites-enabled/*;
}
`
	guideUpstream = "# blue: 5000, green: 5001\nupstream backend {\n    # server 127.0.0.1:5000;\n    server 127.0.0.1:5001;\n}\n"
	guideMoved    = "# blue: 5000, green: 5001\nupstream backend {\n    # server 127.0.0.1:5000;\n    server 127.0.0.1:5080;\n    keepalive 32;\n}\n"
	guideSite     = "server {\n    listen 80;\n    server_name example.com;\n    location /api/ { proxy_pass http://backend; }\n}\n"

	guideUpstreamPath = "/etc/nginx/conf.d/charactier-backend-upstream.conf"
)

// With nothing but the defaults: systemd's nginx, our unit, the guide's paths.
func TestSystemdMigrateWithDefaults(t *testing.T) {
	program(t, "nginx", "nginx-light")
	s := bootServer(t)
	s.Write("/etc/nginx/nginx.conf", guideConf)
	s.Write(guideUpstreamPath, guideUpstream)
	s.Write("/etc/nginx/sites-enabled/charactier", guideSite)
	s.Run("mkdir", "-p", "/var/log/nginx", "/var/lib/nginx")
	s.Run("systemctl", "start", proxyUnit, "nginx")
	s.migrateSees("green", 0)

	s.Run("charactier-proxyctl", "migrate", "--yes", "--adopt")
	if got := s.Read(guideUpstreamPath); got != guideMoved {
		t.Errorf("the upstream file holds %q", got)
	}
	s.migrateSees("green", 1)
	if log := s.Run("journalctl", "--unit=nginx", "--no-pager"); !strings.Contains(log, "Reloaded nginx.service") {
		t.Errorf("systemd did not reload nginx:\n%s", log)
	}
	if got := s.Run("stat", "--format=%a %U", "/var/lib/charactier-proxy-migrate"); got != "700 root" {
		t.Errorf("the backups' directory is %s", got)
	}
	// A restart of nginx takes nothing else from its directories.
	s.Run("systemctl", "restart", "nginx")
	s.migrateSees("green", 1)

	s.Run("charactier-proxyctl", "migrate", "--yes", "--undo")
	if got := s.Read(guideUpstreamPath); got != guideUpstream {
		t.Errorf("after the undo the upstream file holds %q", got)
	}
	s.migrateSees("green", 0)
}

// migrateSees asks through nginx, and counts what the daemon sees of it.
func (s *server) migrateSees(slot string, want uint64) {
	s.t.Helper()
	count := func() (n uint64) {
		for _, slot := range s.status().Services[0].Slots {
			n += slot.Requests
		}
		return n
	}
	// A worker that is about to leave may still take the first ones.
	s.Eventually(fmt.Sprintf("%s answers and the daemon sees %d", slot, want), func() error {
		before := count()
		req, err := http.NewRequestWithContext(s.t.Context(), "GET", "http://127.0.0.1/api/v1/echo", nil)
		if err != nil {
			return err
		}
		req.Host = "example.com"
		if got, err := s.do(req); got != slot || err != nil {
			return fmt.Errorf("answered by %q, %w", got, err)
		}
		if got := countAfter(count, before, want > 0) - before; got != want {
			return fmt.Errorf("the daemon has seen %d", got)
		}
		return nil
	})
}
