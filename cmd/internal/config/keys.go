package config

import (
	"strings"
	"time"

	"charactier-proxy/health"
)

// BuiltinService is the one service that has default addresses, and the only
// one that runs when the file names none.
const BuiltinService = "backend"

// effect says when a changed value takes effect.
type effect string

const (
	live    effect = "live"
	restart effect = "restart"
)

// key is what is known about one key of the file.
type key struct {
	name    string // with the names of its sections, joined by dots
	preset  string // the default as one would write it; "{service}" is the service's name
	allowed rule
	change  effect
	meaning string
}

// row is a key together with the place of its value in a T.
type row[T any] struct {
	key
	at func(*T) any
}

// field is a key together with the place of its value in one particular
// configuration.
type field struct {
	key
	service string // the service it belongs to, if any
	at      any    // *string, *int, *bool, *Bytes, *time.Duration, ...; see codec.go
}

// fieldsOf binds the rows of a table to one value.
func fieldsOf[T any](table []row[T], v *T) []field {
	fields := make([]field, len(table))
	for i, r := range table {
		fields[i] = field{key: r.key, at: r.at(v)}
	}
	return fields
}

// fields returns every field of c by its full name, those of services first.
func (c *Config) fields() []field {
	var all []field
	for _, name := range c.names() {
		s := c.Services[name]
		for _, f := range s.fields() {
			f.service, f.name = name, s.path()+"."+f.name
			all = append(all, f)
		}
	}
	return append(all, fieldsOf(globalKeys(), c)...)
}

// fields returns the fields of s with this service's own defaults.
func (s *Service) fields() []field {
	fields := fieldsOf(serviceKeys(), s)
	for i := range fields {
		f := &fields[i]
		f.preset = strings.ReplaceAll(f.preset, "{service}", s.Name)
		if preset, ok := builtinAddresses()[f.name]; ok && s.Name == BuiltinService {
			f.preset = preset
		}
	}
	return fields
}

func (s *Service) path() string { return "services." + s.Name }

// builtinAddresses are the defaults that only [BuiltinService] has.
func builtinAddresses() map[string]string {
	return map[string]string{
		"listen":              "[127.0.0.1:5080]",
		"slots.blue.address":  "127.0.0.1:5000",
		"slots.green.address": "127.0.0.1:5001",
	}
}

// defaultGroup is made by the package that installs us.
const defaultGroup = "charactier-proxy"

const day = 24 * time.Hour

// serviceKeys are the keys below services.NAME, in the order of the reference.
func serviceKeys() []row[Service] {
	return append(trafficServiceKeys(), deployServiceKeys()...)
}

// trafficServiceKeys are those of the data path, the health checks and the
// switch.
func trafficServiceKeys() []row[Service] {
	return []row[Service]{
		{key{"listen", "", listenAddress, live,
			"Where requests come in: one address or a list. An address that is added or removed opens or closes without touching the others."},
			func(s *Service) any { return &s.Listen }},
		{key{"slots.blue.address", "", slotAddress, live,
			"Where the blue slot answers. When it changes, requests in flight finish at the old address."},
			func(s *Service) any { return &s.Slots[blue].Address }},
		{key{"slots.blue.unit", "charactier-{service}-blue.service", unitName, live,
			"The systemd unit of the blue slot; \"\" if it is not run by systemd."},
			func(s *Service) any { return &s.Slots[blue].Unit }},
		{key{"slots.blue.link", "/srv/charactier/{service}/blue", absolutePath, live,
			"The symbolic link that leads the blue slot's unit to its release: deploy replaces it while the unit is stopped. \"\" means that deploy leaves this service alone."},
			func(s *Service) any { return &s.Slots[blue].Link }},
		{key{"slots.green.address", "", slotAddress, live,
			"Where the green slot answers."},
			func(s *Service) any { return &s.Slots[green].Address }},
		{key{"slots.green.unit", "charactier-{service}-green.service", unitName, live,
			"The systemd unit of the green slot."},
			func(s *Service) any { return &s.Slots[green].Unit }},
		{key{"slots.green.link", "/srv/charactier/{service}/green", absolutePath, live,
			"The same for the green slot."},
			func(s *Service) any { return &s.Slots[green].Link }},
		{key{"initial", "blue", oneOf("blue", "green"), live,
			"The slot that is active when the service is started for the very first time. From then on the state file decides, and this key has no effect."},
			func(s *Service) any { return &s.Initial }},
		{key{"protocol", "http1", oneOf("http1", "h2c"), live,
			"What the slots speak: HTTP/1.1, or HTTP/2 without TLS, which gRPC needs."},
			func(s *Service) any { return &s.Protocol }},
		{key{"upgrades", "[websocket]", upgradeToken, live,
			"The protocols a connection may be upgraded to. Any other wish to upgrade is ignored and the request treated as an ordinary one."},
			func(s *Service) any { return &s.Upgrades }},

		{key{"health.path", "/api/v1/health", healthPath, live,
			"What a probe asks a slot for, to learn whether it is healthy. Both slots are probed all the time."},
			func(s *Service) any { return &s.Health.Path }},
		{key{"health.method", health.DefaultMethod, healthMethod, live,
			"The method of a probe."},
			func(s *Service) any { return &s.Health.Method }},
		{key{"health.host", "", healthHost, live,
			"The Host field of a probe; \"\" means the slot's address."},
			func(s *Service) any { return &s.Health.Host }},
		{key{"health.interval", short(health.DefaultInterval), between(10*time.Millisecond, time.Hour), live,
			"The time between two probes of a healthy slot."},
			func(s *Service) any { return &s.Health.Interval }},
		{key{"health.timeout", short(health.DefaultTimeout), between(time.Millisecond, time.Hour), live,
			"How long a probe may take, from connecting to the last byte of its answer."},
			func(s *Service) any { return &s.Health.Timeout }},
		{key{"health.rise", decimal(health.DefaultRise), between(1, 100), live,
			"How many good answers in a row make a slot healthy. A switch probes as often, back to back."},
			func(s *Service) any { return &s.Health.Rise }},
		{key{"health.fall", decimal(health.DefaultFall), between(1, 100), live,
			"How many bad answers in a row make it unhealthy."},
			func(s *Service) any { return &s.Health.Fall }},
		{key{"health.status", "[200-299]", anyValue("codes or ranges of codes within 200 to 599"), live,
			"The status codes of a good answer. Redirects are not followed."},
			func(s *Service) any { return &s.Health.Status }},
		{key{"health.body", "", anyValue("any text"), live,
			"A text that the first 64 KiB of a good answer contain; \"\" means that any will do."},
			func(s *Service) any { return &s.Health.Body }},

		{key{"timeouts.connect", "3s", between(time.Millisecond, time.Minute), live,
			"How long one attempt to connect to a slot may take."},
			func(s *Service) any { return &s.Timeouts.Connect }},
		{key{"timeouts.response_header", "600s", between(time.Millisecond, day), live,
			"How long a slot may take from a request's last byte to the head of its answer."},
			func(s *Service) any { return &s.Timeouts.ResponseHeader }},
		{key{"timeouts.slot_idle", "4s", between(time.Millisecond, time.Hour), live,
			"How long an idle connection to a slot may be used again when the slot does not name its own limit. It must stay below the slot's keep-alive timeout (Node: 5s)."},
			func(s *Service) any { return &s.Timeouts.SlotIdle }},
		{key{"timeouts.progress", "60s", between(time.Millisecond, day), live,
			"How long a client may take to send or accept the next bytes of a body. Never a total: uploads and downloads of any length pass."},
			func(s *Service) any { return &s.Timeouts.Progress }},
		{key{"timeouts.stream_idle", "600s", between(time.Millisecond, 7*day), live,
			"How long an answer that has begun, or an upgraded connection, may be silent."},
			func(s *Service) any { return &s.Timeouts.StreamIdle }},
		{key{"timeouts.half_close", "10s", between(time.Millisecond, day), live,
			"How long a request goes on after its client shut down its writing side."},
			func(s *Service) any { return &s.Timeouts.HalfClose }},

		{key{"drain_timeout", "30s", between(time.Millisecond, day), live,
			"How long a switch waits for the requests that are in flight on the slot it left. They may go on after that; it bounds the wait, not them."},
			func(s *Service) any { return &s.DrainTimeout }},
		{key{"streams.grace", "10m", between(0, 7*day), live,
			"How long event streams and WebSockets may go on, after a switch, on the slot that it left. Then they are ended, so that their clients come back to the active one: an event stream between two events, a WebSocket with a Close."},
			func(s *Service) any { return &s.Streams.Grace }},
		{key{"streams.spread", "5s", between(0, time.Hour), live,
			"Over how long their ends are spread, so that the clients do not come back all at once."},
			func(s *Service) any { return &s.Streams.Spread }},
		{key{"streams.bound", "10s", between(time.Millisecond, time.Hour), live,
			"How long each of them may take from then on, to the end of an event or of a message's frame. Then it is cut."},
			func(s *Service) any { return &s.Streams.Bound }},
		{key{"streams.close_code", "1012", between(1000, 4999), live,
			"The status of the Close that the clients of WebSockets get: 1012 says that the service restarts. 1001 is for clients that come back only after that one."},
			func(s *Service) any { return &s.Streams.CloseCode }},
		{key{"hold.requests", "1000", between(1, 1_000_000), live,
			"How many requests may wait while the service is held or its active slot takes no connections. The next one is answered 503."},
			func(s *Service) any { return &s.Hold.Requests }},
		{key{"hold.time", "20s", between(time.Millisecond, time.Hour), live,
			"How long each of them waits. It should exceed the RestartSec of the slots' units and the start of the application, so that a crash is waited out (RestartSec=10 and a slow start: 20s), and stay below nginx's proxy_read_timeout (60s)."},
			func(s *Service) any { return &s.Hold.Time }},
		{key{"in_flight.requests", "0", between(0, 1_000_000), live,
			"How many requests may be under way at one slot, event streams and upgraded connections left out. The next ones wait. 0: no limit."},
			func(s *Service) any { return &s.InFlight.Requests }},
		{key{"in_flight.queue", "1000", between(0, 1_000_000), live,
			"How many of them may wait. The next one is answered 503."},
			func(s *Service) any { return &s.InFlight.Queue }},
		{key{"in_flight.wait", "10s", between(time.Millisecond, time.Hour), live,
			"How long each of them waits before it is answered 503."},
			func(s *Service) any { return &s.InFlight.Wait }},
		{key{"failover.enabled", "false", anyValue("true or false"), live,
			"Whether the traffic moves by itself to the standby slot when the active one is dead and the standby healthy. Once only, until somebody switches or both slots were healthy for ten minutes."},
			func(s *Service) any { return &s.Failover.Enabled }},
		{key{"failover.after", "5s", between(100*time.Millisecond, time.Hour), live,
			"How long the active slot must be unhealthy for that, and the standby healthy. It should exceed the time that a restart of a slot takes, or a restart moves the traffic."},
			func(s *Service) any { return &s.Failover.After }},
		{key{"max_body", "0", between(Bytes(0), maxBytes), live,
			"The largest request body; a larger one is answered 413. 0: no limit."},
			func(s *Service) any { return &s.MaxBody }},
		{key{"max_idle_slot_connections", "1024", between(1, 65536), live,
			"How many idle connections are kept to a slot."},
			func(s *Service) any { return &s.MaxIdleSlotConnections }},
	}
}

// globalKeys are the keys outside of services.
func globalKeys() []row[Config] {
	return append(daemonKeys(), deployKeys()...)
}

// daemonKeys are those of the daemon itself.
func daemonKeys() []row[Config] {
	return []row[Config]{
		{key{"server.header_timeout", "10s", between(time.Millisecond, time.Hour), restart,
			"How long a client may take to send the head of a request."},
			func(c *Config) any { return &c.Server.HeaderTimeout }},
		{key{"server.idle_timeout", "120s", between(time.Millisecond, day), restart,
			"How long a client's connection may be idle between two requests. It must exceed the time for which nginx keeps connections to us (60s), or nginx may send a request on one that we just closed."},
			func(c *Config) any { return &c.Server.IdleTimeout }},
		{key{"server.max_header", "64KiB", between(4*KiB, MiB), restart,
			"The largest head of a request; a larger one is answered 431."},
			func(c *Config) any { return &c.Server.MaxHeader }},
		{key{"server.max_connections", "0", between(0, 1_000_000), restart,
			"How many clients' connections may be open on one listener. The next one waits to be accepted. 0: as many as there are file descriptors for, which the listeners share."},
			func(c *Config) any { return &c.Server.MaxConnections }},
		{key{"server.max_connections_per_address", "0", between(0, 1_000_000), restart,
			"How many of them may come from one address. The next one is closed at once. 0: no limit, which is right behind nginx, from whose address all of them come."},
			func(c *Config) any { return &c.Server.MaxConnectionsPerAddress }},
		{key{"server.fast_lane", "true", anyValue("true or false"), live,
			"Whether plain requests of HTTP/1.1 take the way past Go's HTTP server, which costs a third of the CPU. The other way takes all the rest anyway, and all of them with false: should you ever suspect this one."},
			func(c *Config) any { return &c.Server.FastLane }},
		{key{"server.shutdown_timeout", "30s", between(0, time.Hour), restart,
			"How long the daemon waits for requests in flight when it is told to stop."},
			func(c *Config) any { return &c.Server.ShutdownTimeout }},

		{key{"trusted_peers", `[127.0.0.0/8, "::1", unix]`, anyValue(`networks or addresses, and "unix" for peers on unix sockets; [] for none`), live,
			"The peers whose X-Forwarded-For, X-Forwarded-Proto, X-Real-IP and the like are believed and passed on. What anybody else says of this kind is replaced."},
			func(c *Config) any { return &c.TrustedPeers }},

		{key{"admin.listen", "127.0.0.1:5081", adminAddress, restart,
			"Where /healthz and /readyz are served; \"\" turns that off."},
			func(c *Config) any { return &c.Admin.Listen }},

		{key{"control.group", defaultGroup, groupName, restart,
			"The group whose members may change things over the control socket; \"\" means root only. The default is used only where that group exists."},
			func(c *Config) any { return &c.Control.Group }},
		{key{"control.read_group", "", groupName, restart,
			"A group whose members may only read; \"\" means none. The socket then belongs to this group, so those who may change things must be members of it too."},
			func(c *Config) any { return &c.Control.ReadGroup }},

		{key{"log.level", "info", oneOf("debug", "info", "warn", "error"), live,
			"The least serious entries that are written."},
			func(c *Config) any { return &c.Log.Level }},
		{key{"log.format", "auto", oneOf("auto", "console", "json"), restart,
			"How they are written. auto: for people on a terminal, as JSON elsewhere."},
			func(c *Config) any { return &c.Log.Format }},

		{key{"access_log.enabled", "false", anyValue("true or false"), live,
			"Whether there is one entry for each request."},
			func(c *Config) any { return &c.AccessLog.Enabled }},
		{key{"access_log.path", "", filePath, live,
			"The file it is appended to; \"\" means stderr."},
			func(c *Config) any { return &c.AccessLog.Path }},
		{key{"access_log.query", "redacted", oneOf("redacted", "verbatim"), live,
			"Whether query strings are written. They often hold secrets."},
			func(c *Config) any { return &c.AccessLog.Query }},
	}
}
