package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// nginxMain is what every nginx begins with: all it writes lies in its own
// directory.
const nginxMain = `{{with .User}}user {{.}};{{end}}
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes {{.Workers}};
worker_rlimit_nofile 20000;
events { worker_connections 20000; }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/json;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 120s;
    keepalive_requests 1000000000;
    access_log {{with .AccessLog}}{{.}}{{else}}off{{end}};
`

// nginxProxy is a reverse proxy as production has it. It keeps as many
// connections to the slot as ours does by default.
const nginxProxy = nginxMain + `
    client_max_body_size 0;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream slot {
        server {{.Slot}};
        keepalive 256;
        keepalive_requests 1000000000;
    }
    server {
        listen {{.Listen}};
        location / {
            proxy_pass http://slot;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_connect_timeout 3s;
            proxy_read_timeout 600s;
            proxy_send_timeout 600s;
        }
    }
}
`

// nginxValues fill the templates.
type nginxValues struct {
	User, AccessLog string
	Workers         int
	Listen, Second  string
	Slot            string // a proxy's
	Root, Small     string // a slot's
}

// startNginx starts Debian's nginx in front of the slot.
func startNginx(ctx context.Context, w *world, s setup) (*instance, error) {
	v := nginxValues{Workers: len(w.cores.contender), Slot: s.slots[0]}
	if s.accessLog {
		v.AccessLog = "access.log"
	}
	return w.nginx(ctx, "nginx", nginxProxy, v, w.cores.contender)
}

// nginx runs one nginx until it answers. It fills in addresses and user.
func (w *world) nginx(ctx context.Context, name, config string, v nginxValues, cpus []int) (*instance, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	v.Listen, v.Second = addrs[0], addrs[1]
	if os.Geteuid() == 0 {
		v.User = "root" // for the directory, which is nobody else's
	}
	dir, err := w.scratch(name)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := fill(file, config, v); err != nil {
		return nil, err
	}
	c, err := w.spawn(name, cpus, nil, w.programs["nginx"], "-p", dir, "-c", file)
	if err != nil {
		return nil, err
	}
	in := &instance{addr: v.Listen, second: v.Second, child: c}
	if err := c.await(ctx, answers("http://"+in.addr+healthPath)); err != nil {
		in.stop()
		return nil, err
	}
	return in, nil
}

// fill writes a file from a template.
func fill(file, text string, values any) error {
	var filled strings.Builder
	if err := template.Must(template.New("").Parse(text)).Execute(&filled, values); err != nil {
		return fmt.Errorf("filling %s: %w", file, err)
	}
	if err := os.WriteFile(file, []byte(filled.String()), 0o600); err != nil {
		return fmt.Errorf("writing a configuration: %w", err)
	}
	return nil
}
