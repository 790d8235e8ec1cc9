package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/nginx"
)

func nginxChecks() []Check {
	return []Check{
		{Name: "nginx", AllWell: "it takes its configuration", Machine: checkNginx},
		{Name: "nginx route", AllWell: "nginx sends to the proxy and to no slot", Service: checkRoute},
		{Name: "nginx keep-alive", AllWell: "nginx keeps connections to the proxy, and closes idle ones first", Service: checkUpstream},
		{Name: "nginx protocol", AllWell: "nginx speaks HTTP/1.1 with the proxy", Service: checkLocations},
		{Name: "client address", AllWell: "nginx passes on who the client is, and not what it claims", Service: checkForwarded},
	}
}

// unread is the reason why nginx's configuration could not be looked at.
func (n Nginx) unread() []Finding {
	switch {
	case n.Missing:
		return skip("there is no nginx on this machine")
	case n.Refused != "":
		return skip("nginx does not take its configuration")
	case n.Err != nil:
		return one(Skipped, "sudo charactier-proxyctl doctor", "nginx's configuration cannot be read: %v", n.Err)
	}
	return nil
}

func checkNginx(f *Facts) []Finding {
	n := f.Nginx
	if n.Refused == "" {
		return n.unread()
	}
	switch {
	case strings.Contains(n.Refused, "host not found in upstream"):
		return one(Fail, "sudo nginx -t; is the file with the upstream below /etc/nginx/conf.d?", "nginx finds no such upstream, so a reload or restart fails: %s", n.Refused)
	case strings.Contains(n.Refused, "Permission denied"):
		return one(Fail, "sudo nginx -t  # then look at the owner and mode of the file it names", "nginx may not read a file, so a reload or restart fails: %s", n.Refused)
	}
	return one(Fail, "sudo nginx -t", "nginx does not take its configuration, so a reload or restart fails: %s", n.Refused)
}

// checkRoute finds where nginx goes past us.
func checkRoute(f *Facts, s *Service) []Finding {
	if why := f.Nginx.unread(); why != nil {
		return why
	}
	var l found
	for _, slot := range s.Slots {
		for _, server := range f.Nginx.upstreamServers(slot.Address) {
			l.fail("sudo charactier-proxyctl migrate", "%s: the upstream still sends to %s, the %s slot, past the proxy: a switch does not reach nginx", server.at(), slot.Address, slot.Name)
		}
		for _, pass := range f.Nginx.passes(slot.Address) {
			l.fail(passTo(f, s), "%s: proxy_pass sends to %s, the %s slot, past the proxy", pass.at(), slot.Address, slot.Name)
		}
	}
	if len(l) == 0 && len(f.Nginx.routes(s)) == 0 {
		l.warn("sudo charactier-proxyctl migrate", "nginx sends nothing to %s: either nothing reaches the proxy, or not through this nginx", door(s))
	}
	return l
}

// passTo is what a location says that sends to this service: the upstream that
// there is, or one to be made.
func passTo(f *Facts, s *Service) string {
	if ups := f.Nginx.ourUpstreams(s); len(ups) > 0 {
		return fmt.Sprintf("let it say: proxy_pass http://%s; with the upstream of the proxy", ups[0].arg(0))
	}
	return fmt.Sprintf("let it say: proxy_pass http://%s; and beside the server: upstream %s { server %s; keepalive 32; }", s.Name, s.Name, door(s))
}

func noRoute(s *Service) []Finding { return skip("nginx sends nothing to %s", door(s)) }

// checkUpstream looks at the upstreams that lead to us.
func checkUpstream(f *Facts, s *Service) []Finding {
	if why := f.Nginx.unread(); why != nil {
		return why
	}
	if len(f.Nginx.routes(s)) == 0 {
		return noRoute(s)
	}
	ours := f.Config.Server.IdleTimeout
	var l found
	for _, r := range f.Nginx.routes(s) {
		if host := passHost(r.pass); slices.ContainsFunc(s.Config.Listen, func(a string) bool { return nginx.SameAddress(host, a) }) {
			l.warn(passTo(f, s), "%s: proxy_pass names the proxy's address itself: a new connection for each request", r.pass.at())
		}
	}
	for _, up := range f.Nginx.ourUpstreams(s) {
		if up.child("keepalive") == nil {
			l.warn("add to the upstream: keepalive 32;", "%s: the upstream lacks keepalive: a new connection for each request", up.at())
			continue
		}
		idle, where := nginx.DefaultKeepalive, up
		if d := up.child("keepalive_timeout"); d != nil {
			idle, where = nginxTime(d.arg(0)), d
		}
		if idle >= ours {
			l.fail("set keepalive_timeout 60s; in the upstream, or server.idle_timeout above "+idle.String()+" in "+f.ConfigPath,
				"%s: nginx keeps idle connections for %v, and the proxy closes them after %v: a request may meet a connection that is closing", where.at(), idle, ours)
		}
	}
	return l
}

// checkLocations looks at what goes with each proxy_pass that leads to us.
func checkLocations(f *Facts, s *Service) []Finding {
	if why := f.Nginx.unread(); why != nil {
		return why
	}
	if len(f.Nginx.routes(s)) == 0 {
		return noRoute(s)
	}
	var l found
	for _, r := range f.Nginx.routes(s) {
		if v := r.setting("proxy_http_version"); v == nil || v.arg(0) != "1.1" && v.arg(0) != "2" {
			l.warn("add beside it: proxy_http_version 1.1;", "%s: proxy_http_version 1.1 is missing: older nginx speaks HTTP/1.0 then, without keep-alive, event streams in chunks, or WebSockets", r.pass.at())
		}
		if c := r.header("Connection"); c == nil || strings.EqualFold(c.arg(1), "close") {
			l.warn(`add beside it: proxy_set_header Connection ""; or "upgrade", where there are WebSockets`, "%s: nginx says Connection: close with each request, so keepalive has no effect", r.pass.at())
		}
	}
	return l
}

// checkForwarded finds where a client's own X-Forwarded-For is passed on: an
// app that trusts its proxies without a number takes the left-most address,
// which is the client's word.
func checkForwarded(f *Facts, s *Service) []Finding {
	if why := f.Nginx.unread(); why != nil {
		return why
	}
	if len(f.Nginx.routes(s)) == 0 {
		return noRoute(s)
	}
	var l found
	for _, r := range f.Nginx.routes(s) {
		switch h := r.header("X-Forwarded-For"); {
		case h == nil:
			l.warn("add beside it: proxy_set_header X-Forwarded-For $remote_addr;", "%s: nginx passes a client's own X-Forwarded-For on, and adds nothing", r.pass.at())
		case h.arg(1) == "$proxy_add_x_forwarded_for":
			l.warn("let it say: proxy_set_header X-Forwarded-For $remote_addr;",
				"%s: nginx adds to what the client claims in X-Forwarded-For, and an app with \"trust proxy\" set to true believes the left-most address: anybody can pretend to be anybody", h.at())
		}
	}
	return l
}

// nginxTime reads a time such as 60s, 1m or 75.
func nginxTime(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, _ := strconv.Atoi(days) // zero is what it then is
		return time.Duration(n) * 24 * time.Hour
	}
	d, _ := time.ParseDuration(text)
	return d
}
