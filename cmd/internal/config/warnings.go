package config

import (
	"fmt"
	"strings"
	"time"
)

// nginxKeepAlive is how long nginx keeps idle connections to us by default
// (keepalive_timeout of its upstream block).
const nginxKeepAlive = 60 * time.Second

// nodeKeepAlive is how long Node keeps idle connections by default
// (server.keepAliveTimeout).
const nodeKeepAlive = 5 * time.Second

// Warnings are what is allowed but most likely not meant, one sentence each,
// beginning with the key.
func (c *Config) Warnings() []string {
	var all []string
	warn := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, name := range c.names() {
		c.Services[name].warnings(warn)
	}
	c.sharedSlots(warn)
	if c.Server.IdleTimeout <= nginxKeepAlive {
		warn("server.idle_timeout: %s is not more than the %s for which nginx keeps idle connections, so nginx may send a request on one that we are closing", short(c.Server.IdleTimeout), short(nginxKeepAlive))
	}
	if len(c.TrustedPeers.Networks) == 0 && !c.TrustedPeers.Unix {
		warn("trusted_peers: nobody is trusted, so the slots see nginx as the client of every request")
	}
	for _, n := range c.TrustedPeers.Networks {
		if n.Bits() == 0 {
			warn("trusted_peers: %s is everybody, so any client may claim any address", n)
		}
	}
	if a := c.Admin.Listen; a != "" && !isLoopback(a) {
		warn("admin.listen: %s can be reached from other machines, and asks nobody who they are", a)
	}
	return all
}

func (s *Service) warnings(warn func(string, ...any)) {
	for _, a := range s.Listen {
		if strings.HasSuffix(a, ":0") {
			warn("%s.listen: %s is another port at each start", s.path(), a)
		}
		if !isLoopback(a) {
			warn("%s.listen: %s can be reached from other machines without TLS; behind nginx a loopback address is enough", s.path(), a)
		}
	}
	if s.Timeouts.SlotIdle >= nodeKeepAlive {
		warn("%s.timeouts.slot_idle: %s is not less than the %s after which Node closes idle connections, so a request may meet one that is closing", s.path(), short(s.Timeouts.SlotIdle), short(nodeKeepAlive))
	}
}

// sharedSlots warns of services that lead to the same place.
func (c *Config) sharedSlots(warn func(string, ...any)) {
	names := c.names()
	for i, b := range names {
		for _, a := range names[:i] {
			for _, x := range []string{blue, green} {
				for _, y := range []string{blue, green} {
					if to := c.Services[b].Slots[y].Address; overlap(c.Services[a].Slots[x].Address, to) {
						warn("services.%s.slots.%s.address: %s is the %s slot of %s too", b, y, to, x, a)
					}
				}
			}
		}
	}
}
