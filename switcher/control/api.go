package control

import (
	"net/http"
	"time"

	"charactier-proxy/switcher"
)

// VersionHeader carries the daemon's version in every answer.
const VersionHeader = "Charactier-Proxy-Version"

// Role is what a peer may do.
type Role int

// The roles; a higher one includes the lower.
const (
	None   Role = iota // nothing: answered 403
	Reader             // everything that changes nothing
	Admin              // everything
)

// Route is one call of the API.
type Route struct {
	Method, Path string
	Role         Role
}

// The routes. Request and answer types are named beside each.
var (
	RouteVersion     = Route{"GET", "/v1/version", Reader}      // -> Version
	RouteStatus      = Route{"GET", "/v1/status", Reader}       // -> Status
	RouteHistory     = Route{"GET", "/v1/history", Reader}      // ?limit=N -> []switcher.Record, newest first
	RouteEvents      = Route{"GET", "/v1/events", Reader}       // ?after=SEQ -> switcher.Event as JSON lines, until the client leaves; an empty line is a heartbeat
	RouteSwitch      = Route{"POST", "/v1/switch", Admin}       // SwitchRequest -> switcher.Record
	RouteRollback    = Route{"POST", "/v1/rollback", Admin}     // SwitchRequest -> switcher.Record
	RouteHold        = Route{"POST", "/v1/hold", Admin}         // HoldRequest -> switcher.Record
	RouteReleaseHold = Route{"POST", "/v1/release-hold", Admin} // HoldRequest -> switcher.Record
	RouteAbort       = Route{"POST", "/v1/abort", Admin}        // AbortRequest -> AbortResult
	RouteStopping    = Route{"POST", "/v1/stopping", Admin}     // StoppingRequest -> StoppingResult
	RouteEndStreams  = Route{"POST", "/v1/end-streams", Admin}  // EndStreamsRequest -> EndStreamsResult, once none is left
	RouteReload      = Route{"POST", "/v1/reload", Admin}       // nothing -> ConfigStatus
	RouteUpgrade     = Route{"POST", "/v1/upgrade", Admin}      // UpgradeRequest -> switcher.Record
	RouteReserve     = Route{"POST", "/v1/reserve", Admin}      // ReserveRequest -> JSON lines until the client leaves or the reservation ends: a Reservation, then ReservationAsks; an empty line is a heartbeat
	RouteReserveStep = Route{"POST", "/v1/reserve/step", Admin} // ReserveStep -> nothing
	RouteReserveEnd  = Route{"POST", "/v1/reserve/end", Admin}  // ReserveEnd -> switcher.Record
)

// brief reports whether the answer needs no work.
func (r Route) brief() bool {
	return r.Method == http.MethodGet || r == RouteAbort || r == RouteReserveStep
}

// Routes lists all of them, in the order above.
func Routes() []Route {
	return []Route{
		RouteVersion, RouteStatus, RouteHistory, RouteEvents,
		RouteSwitch, RouteRollback, RouteHold, RouteReleaseHold, RouteAbort, RouteStopping, RouteEndStreams, RouteReload, RouteUpgrade,
		RouteReserve, RouteReserveStep, RouteReserveEnd,
	}
}

// Version answers RouteVersion.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	API      int    `json:"api"` // 1
}

// SwitchRequest is the body of RouteSwitch and RouteRollback.
type SwitchRequest struct {
	To       switcher.Slot `json:"to,omitempty"`       // switch only; empty: the other one
	Services []string      `json:"services,omitempty"` // empty: all
	Force    bool          `json:"force,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	// Wait is how long to wait for the target to become healthy; zero: it must be
	// healthy now.
	Wait time.Duration `json:"wait_ns,omitempty"`
	// Drain bounds how long the answer waits for requests on the old slot; zero
	// means the service's own drain_timeout, negative: do not wait.
	Drain time.Duration `json:"drain_ns,omitempty"`
	// Bake is how long the new slot is compared with the old one's past: zero
	// means not at all, negative each service's own bake.time.
	Bake time.Duration `json:"bake_ns,omitempty"`
	// Within is the ID of the reservation that this is a part of.
	Within string `json:"within,omitempty"`
}

// HoldRequest is the body of RouteHold and RouteReleaseHold.
type HoldRequest struct {
	Services []string `json:"services,omitempty"` // empty: all
	Reason   string   `json:"reason,omitempty"`
}

// UpgradeRequest is the body of RouteUpgrade.
type UpgradeRequest struct {
	Reason string `json:"reason,omitempty"`
}

// AbortRequest is the body of RouteAbort.
type AbortRequest struct {
	// ID names the operation to stop; empty means whichever runs. One who stops
	// what they began themselves names it, so that they never stop another's.
	ID string `json:"id,omitempty"`
}

// AbortResult names the operation that was told to stop, or the reservation that
// was asked to.
type AbortResult struct {
	ID   string        `json:"id"`
	Kind switcher.Kind `json:"kind"`
	// Asked says that it is a reservation: its command decides how to stop.
	Asked bool `json:"asked,omitempty"`
}

// StoppingRequest is the body of RouteStopping: a unit is about to be stopped.
type StoppingRequest struct {
	Unit string `json:"unit"`
}

// StoppingResult says what that means for the traffic.
type StoppingResult struct {
	// Service and Slot are whose unit it is; empty if it is no slot's.
	Service string        `json:"service,omitempty"`
	Slot    switcher.Slot `json:"slot,omitempty"`
	// Active says that the traffic is there, so that its requests wait from now on.
	Active bool `json:"active"`
	// Left are the requests that the slot has yet to answer; streams do not count.
	Left int64 `json:"left"`
}

// EndStreamsRequest is the body of RouteEndStreams. The slot must not be the
// active one, whose streams would come back to it.
type EndStreamsRequest struct {
	Service string        `json:"service"`
	Slot    switcher.Slot `json:"slot"`
}

// EndStreamsResult says what became of a slot's event streams and WebSockets.
type EndStreamsResult struct {
	Ended int64 `json:"ended"` // where that costs nothing
	Cut   int64 `json:"cut"`   // since they came to no such place in time
	Left  int64 `json:"left"`  // still open, since who asked has left
}

// ReserveRequest is the body of RouteReserve: others are kept out for as long as
// the client stays connected.
type ReserveRequest struct {
	Kind     switcher.Kind `json:"kind"`               // deploy or rollback
	Services []string      `json:"services,omitempty"` // empty: all
	Reason   string        `json:"reason,omitempty"`
	// Moves are what is meant to happen, for those who are kept out.
	Moves []switcher.Move `json:"moves,omitempty"`
}

// ReservationAsk is a wish of somebody else.
type ReservationAsk struct {
	Abort string `json:"abort"` // who wants it to stop
}

// ReserveStep is the body of RouteReserveStep.
type ReserveStep struct {
	ID    string `json:"id"`
	Step  string `json:"step,omitempty"`  // where the work is; empty: where it was
	Level string `json:"level,omitempty"` // of the event; empty: info
	// Text is published as an event, if there is one.
	Text string `json:"text,omitempty"`
}

// ReserveEnd is the body of RouteReserveEnd. Of the record the outcome, moves,
// services, reason, error, warning and bake count; the daemon fills in the rest.
type ReserveEnd struct {
	ID     string          `json:"id"`
	Record switcher.Record `json:"record"`
	// Exonerate are bad releases of the moved services that are not bad any more:
	// they were deployed in spite of that, and kept.
	Exonerate []string `json:"exonerate,omitempty"`
}

// Status answers RouteStatus: everything an operator looks at first.
type Status struct {
	Version  string          `json:"version"`
	PID      int             `json:"pid"`
	Started  time.Time       `json:"started"`
	Config   ConfigStatus    `json:"config"`
	State    StateStatus     `json:"state"`
	Services []ServiceStatus `json:"services"` // sorted by name
	// Reservation is the deploy, or whatever else of several operations, that
	// keeps others out; nil when there is none.
	Reservation *switcher.Operation `json:"reservation,omitempty"`
	// Deploy is the one that is not at its end; nil when there is none.
	Deploy *DeployStatus `json:"deploy,omitempty"`
	// Operation is the one that runs now; nil when none does.
	Operation *switcher.Operation `json:"operation,omitempty"`
	Last      *switcher.Record    `json:"last,omitempty"`
	// Warnings are what an operator should mend, in plain sentences.
	Warnings []string `json:"warnings,omitempty"`
	// Drift is where systemd's units and the state disagree, in plain sentences.
	Drift []string `json:"drift,omitempty"`
}

// DeployStatus is a deploy, or a rollback that starts a slot, that has neither
// finished nor been undone.
type DeployStatus struct {
	ID      string         `json:"id"`
	Kind    switcher.Kind  `json:"kind"`
	By      switcher.Actor `json:"by"`
	Begun   time.Time      `json:"begun"`
	At      string         `json:"at"` // the step that it is in, or was when its command ended
	Release string         `json:"release,omitempty"`
	// Running says that its command is alive. If not, it waits for
	// `charactier-proxyctl deploy --resume` or `abort`.
	Running bool `json:"running"`
}

// ConfigStatus says which configuration runs, and what is wrong with a newer one.
type ConfigStatus struct {
	Path   string    `json:"path,omitempty"` // empty: built-in defaults
	Loaded time.Time `json:"loaded"`
	// Rejected is why the newest file was not taken; empty when it runs.
	Rejected   string    `json:"rejected,omitempty"`
	RejectedAt time.Time `json:"rejected_at,omitzero"`
	// NeedsRestart lists keys whose new value waits for a restart.
	NeedsRestart []string `json:"needs_restart,omitempty"`
}

// StateStatus says where the state is kept and whether it is sound.
type StateStatus struct {
	Dir        string `json:"dir"`
	Generation uint64 `json:"generation"`
	// Note says what was found at start if it was not simply the last state.
	Note string `json:"note,omitempty"`
}

// ServiceStatus is one service.
type ServiceStatus struct {
	Name       string         `json:"name"`
	Listen     []string       `json:"listen"`
	Active     switcher.Slot  `json:"active"`
	Previous   switcher.Slot  `json:"previous,omitempty"`
	Since      time.Time      `json:"since"`
	RolledBack bool           `json:"rolled_back,omitempty"`
	Held       *switcher.Held `json:"held,omitempty"`
	// Outage says that requests wait because the active slot takes no connections;
	// nil while it does.
	Outage  *OutageStatus `json:"outage,omitempty"`
	Waiting int64         `json:"waiting"` // requests that wait, in the hold or for the slot
	// Queued are those above in_flight.requests, which wait for one of them to end.
	Queued int64        `json:"queued,omitempty"`
	Slots  []SlotStatus `json:"slots"` // blue, green
	// Bake is that of the active slot, running or ended, or the one that returned
	// the traffic to it (Returned is set); nil if there was none.
	Bake *switcher.BakeResult `json:"bake,omitempty"`
	// BadReleases are those that traffic was returned from, newest first.
	BadReleases []switcher.BadRelease `json:"bad_releases,omitempty"`
}

// OutageStatus is a hold that nobody asked for: the active slot takes no
// connections, and what comes waits until it does or the traffic moves.
type OutageStatus struct {
	Slot  switcher.Slot `json:"slot"`
	Since time.Time     `json:"since"`
	Error string        `json:"error"` // of the newest attempt to connect
	// Waited counts the requests that waited so far, and TurnedAway those of them
	// that were answered 503, because they waited too long or were too many.
	Waited     int64 `json:"waited"`
	TurnedAway int64 `json:"turned_away"`
	// MaxWait and MaxRequests are the bounds.
	MaxWait     time.Duration `json:"max_wait_ns"`
	MaxRequests int           `json:"max_requests"`
}

// SlotStatus is one slot of a service.
type SlotStatus struct {
	Name    switcher.Slot `json:"name"`
	Address string        `json:"address"`
	Unit    string        `json:"unit,omitempty"`
	Active  bool          `json:"active"`
	// Release is what the slot's link leads to; empty where that is not known.
	Release  string       `json:"release,omitempty"`
	Runs     *UnitStatus  `json:"runs,omitempty"` // nil where systemd is not there
	Role     *RoleStatus  `json:"role,omitempty"` // nil where the slot is not told
	Health   HealthStatus `json:"health"`
	InFlight int64        `json:"in_flight"` // requests, streams not counted
	Streams  int64        `json:"streams"`   // event streams and upgrades
	// StreamsUntil is when the streams of a slot that was left are ended; zero where
	// it has none. StreamsEnded and StreamsCut are those that were, since the daemon
	// started.
	StreamsUntil time.Time         `json:"streams_until,omitzero"`
	StreamsEnded uint64            `json:"streams_ended,omitempty"`
	StreamsCut   uint64            `json:"streams_cut,omitempty"`
	Draining     bool              `json:"draining"`           // standby with requests or streams left
	Requests     uint64            `json:"requests"`           // since the daemon started
	Errors       uint64            `json:"errors"`             // answers 5xx and those we had to give for the slot
	ByClass      map[string]uint64 `json:"by_class,omitempty"` // "2xx": n
	ByCause      map[string]uint64 `json:"by_cause,omitempty"` // our own errors by cause
	// Over the last ten seconds; latency is to the answer's last byte, streams
	// excluded.
	Rate float64       `json:"rate"` // requests a second
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
}

// HealthStatus is what the active probes know of a slot.
type HealthStatus struct {
	State  string        `json:"state"` // healthy, unhealthy, unknown
	Since  time.Time     `json:"since,omitzero"`
	Probed time.Time     `json:"probed,omitzero"`
	Took   time.Duration `json:"took_ns"`
	Error  string        `json:"error,omitempty"` // of the last failed probe
}

// UnitStatus is what systemd knows of a slot's unit.
type UnitStatus struct {
	Active   string    `json:"active"`            // active, inactive, failed, activating, ...
	Sub      string    `json:"sub"`               // running, dead, exited, auto-restart, ...
	Result   string    `json:"result,omitempty"`  // success, exit-code, signal, ...
	Enabled  string    `json:"enabled,omitempty"` // enabled, disabled, masked, static, ...
	Since    time.Time `json:"since,omitzero"`    // of Active
	Restarts uint32    `json:"restarts"`
}

// RoleStatus is what a slot was told about being active or standby.
type RoleStatus struct {
	Wanted string    `json:"wanted"` // active or standby
	Told   string    `json:"told"`   // what it took last; empty if it never did
	Since  time.Time `json:"since,omitzero"`
	Error  string    `json:"error,omitempty"` // of the newest attempt
}
