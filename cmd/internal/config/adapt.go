package config

import (
	"os/user"

	"charactier-proxy/health"
	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
)

// HealthCheck says how the slots of a service are probed.
func (c *Config) HealthCheck(service string) health.Check {
	s := c.Services[service]
	h := s.Health
	return health.Check{
		Method: h.Method, Path: h.Path, Host: h.Host, Protocol: health.Protocol(s.Protocol),
		Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall,
		Status: h.Status, Body: h.Body,
	}
}

// ProxyServices describes the services to the data path, sorted by name. Their
// assets are the caller's to find.
func (c *Config) ProxyServices() []proxy.Service {
	var all []proxy.Service
	for _, name := range c.names() {
		all = append(all, c.Services[name].proxyService())
	}
	return all
}

func (s *Service) proxyService() proxy.Service {
	return proxy.Service{
		Name:     s.Name,
		Slots:    map[string]string{blue: s.Slots[blue].Address, green: s.Slots[green].Address},
		Protocol: proxy.Protocol(s.Protocol),
		Upgrades: s.Upgrades,

		ConnectTimeout:        s.Timeouts.Connect,
		ResponseHeaderTimeout: s.Timeouts.ResponseHeader,
		SlotIdleTimeout:       s.Timeouts.SlotIdle,
		MaxIdleSlotConns:      s.MaxIdleSlotConnections,
		ProgressTimeout:       s.Timeouts.Progress,
		StreamIdleTimeout:     s.Timeouts.StreamIdle,
		StreamSpread:          s.Streams.Spread,
		StreamBound:           s.Streams.Bound,
		StreamCloseCode:       s.Streams.CloseCode,
		HalfCloseGrace:        s.Timeouts.HalfClose,

		MaxBodyBytes:  int64(s.MaxBody),
		MaxRequests:   s.InFlight.Requests,
		QueueRequests: s.InFlight.Queue,
		QueueTime:     s.InFlight.Wait,

		HoldRequests: s.Hold.Requests,
		HoldTime:     s.Hold.Time,
	}
}

// ProxySettings are the settings of the data path that belong to no service.
// The access log is the caller's to open.
func (c *Config) ProxySettings() proxy.Settings {
	return proxy.Settings{TrustedPeers: c.TrustedPeers.Networks, TrustUnixPeers: c.TrustedPeers.Unix}
}

// SwitcherServices describes the services to the switcher, sorted by name.
func (c *Config) SwitcherServices() []switcher.ServiceConfig {
	var all []switcher.ServiceConfig
	for _, name := range c.names() {
		s := c.Services[name]
		all = append(all, switcher.ServiceConfig{Name: name, Initial: s.Initial, DrainTimeout: s.DrainTimeout})
	}
	return all
}

// BakePlan says how the service's newly active slot is compared with the one
// before.
func (s *Service) BakePlan() switcher.BakePlan {
	return switcher.BakePlan{
		Time: s.Bake.Time, MinRequests: s.Bake.MinRequests, Errors: s.Bake.Errors,
		Slowdown: s.Bake.Slowdown, Slack: s.Bake.Slack, Return: s.Bake.Inconclusive == "return",
	}
}

// SocketGroup is the group that the control socket belongs to: the wider of the
// two. Empty means the daemon's own.
func (c Control) SocketGroup() string {
	if c.ReadGroup != "" {
		return c.ReadGroup
	}
	return c.AdminGroup()
}

// AdminGroup is the group whose members may change things. The default group
// is used only where it exists, so that a machine for development needs no
// preparation.
func (c Control) AdminGroup() string {
	if c.Group != defaultGroup {
		return c.Group
	}
	if _, err := user.LookupGroup(c.Group); err != nil {
		return ""
	}
	return c.Group
}
