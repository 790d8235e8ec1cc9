package main

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// haproxyConfig is a reverse proxy as production has it. splice-auto lets it
// pass large bodies without copying, which it does not by default.
const haproxyConfig = `global
    nbthread {{.Threads}}
    maxconn {{.Connections}}
{{- if .AccessLog}}
    log stdout format raw local0
{{- end}}

defaults
    mode http
    timeout connect 3s
    timeout client 120s
    timeout server 600s
    timeout tunnel 600s
    timeout http-request 10s
    timeout http-keep-alive 120s
    option forwardfor
    option http-keep-alive
    option splice-auto
    http-reuse always
{{- if .AccessLog}}
    log global
    option httplog
{{- end}}

frontend clients
    bind {{.Listen}}
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Real-IP %[src]
    default_backend slot

backend slot
    option httpchk GET {{.Health}}
    server blue {{.Slot}} check inter 2s rise 2 fall 3
`

// startHAProxy starts Debian's HAProxy in front of the slot.
func startHAProxy(ctx context.Context, w *world, s setup) (*instance, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	connections, err := haproxyConnections()
	if err != nil {
		return nil, err
	}
	dir, err := w.scratch("haproxy")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := fill(file, haproxyConfig, map[string]any{
		"Threads":     len(w.cores.contender),
		"Connections": connections,
		"AccessLog":   s.accessLog,
		"Listen":      addrs[0],
		"Slot":        s.slots[0],
		"Health":      healthPath,
	}); err != nil {
		return nil, err
	}
	c, err := w.spawn("HAProxy", w.cores.contender, nil, w.programs["haproxy"], "-db", "-f", file)
	if err != nil {
		return nil, err
	}
	in := &instance{addr: addrs[0], child: c}
	if err := c.await(ctx, answers("http://"+in.addr+healthPath)); err != nil {
		in.stop()
		return nil, err
	}
	return in, nil
}

// haproxyConnections is as many as there are descriptors for. HAProxy keeps idle
// connections to servers only while it uses less than a quarter of what this
// number implies, so a tight one would have it open a connection for every
// request.
func haproxyConnections() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("looking for the limit of descriptors: %w", err)
	}
	const spare = 1000
	if limit.Max < 2*spare {
		return 0, fmt.Errorf("only %d descriptors are allowed", limit.Max)
	}
	// Two for each connection, and two for each pipe, of which it wants a quarter
	// as many.
	return int(min(limit.Max, 64_000)-spare) * 2 / 5, nil
}
