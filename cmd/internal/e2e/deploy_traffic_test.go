package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"

	"github.com/coder/websocket"
)

// traffic is what users do all the while: they order, read an event stream and
// hold a WebSocket, all through nginx.
type traffic struct {
	p       *production
	orders  *load.Generator
	ctx     context.Context
	leave   context.CancelFunc
	result  chan load.Report
	streams sync.WaitGroup

	mu         sync.Mutex
	reconnects int // of either kind
	problems   []string
}

const trafficClients = 4

// users begins the traffic; it ends with the test, or by stop.
func (p *production) users() {
	p.t.Helper()
	u := &traffic{p: p, result: make(chan load.Report, 1)}
	u.ctx, u.leave = context.WithCancel(context.Background())
	u.orders = load.New(load.Options{
		Addr: siteAddr, Host: "example.com", Clients: trafficClients, GetEvery: 4, Think: 15 * time.Millisecond, Dial: p.Dial,
	})
	go func() { u.result <- u.orders.Run(u.ctx) }()
	u.streams.Go(u.readEvents)
	u.streams.Go(u.keepSocket)
	p.traffic = u
	p.t.Cleanup(func() { u.leave(); u.streams.Wait() })
}

// stop ends the traffic and judges it as a whole: each order that was answered
// was executed once.
func (p *production) usersLeave() load.Report {
	p.t.Helper()
	u := p.traffic
	u.leave()
	r := <-u.result
	u.streams.Wait()
	twice, lost := judge(p.executed(r.Run), r)
	if twice+lost > 0 {
		p.t.Errorf("%d orders were executed twice, %d answered and not executed\n%s", twice, lost, r)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, problem := range u.problems {
		p.t.Errorf("a stream: %s", problem)
	}
	p.traffic = nil
	return r
}

// executed counts the orders in the ledger of all slots.
func (p *production) executed(run string) map[string]int {
	p.t.Helper()
	text, err := os.ReadFile(p.Path(ledgerPath))
	if err != nil {
		p.t.Fatal(err)
	}
	counts := map[string]int{}
	for id := range strings.Lines(string(text)) {
		if strings.HasPrefix(id, run+"-") {
			counts[strings.TrimSpace(id)]++
		}
	}
	return counts
}

func (u *traffic) problem(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.problems = append(u.problems, fmt.Sprintf(time.Now().Format("15:04:05.000 ")+format, args...))
}

func (u *traffic) reconnected() {
	u.mu.Lock()
	u.reconnects++
	u.mu.Unlock()
	time.Sleep(50 * time.Millisecond) // as a browser does, which is told 1 s
}

// readEvents is an EventSource: it comes back with the last id, and an answer
// other than 200 would end it for ever.
func (u *traffic) readEvents() {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: u.p.Dial}}
	last := 0
	for u.ctx.Err() == nil {
		req, err := http.NewRequestWithContext(u.ctx, "GET", "http://"+siteAddr+"/api/v1/events?interval=100", nil)
		if err != nil {
			u.problem("%v", err)
			return
		}
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Last-Event-ID", strconv.Itoa(last))
		if resp, err := client.Do(req); err == nil {
			last = u.readStream(resp, last)
		}
		u.reconnected()
	}
}

// readStream reads until the stream ends and returns the last event's id.
func (u *traffic) readStream(resp *http.Response, last int) int {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		u.problem("the event stream got %s", resp.Status)
		return last
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "id: ")
		if !ok {
			continue
		}
		if id, err := strconv.Atoi(text); err != nil || id != last+1 {
			u.problem("event %q came after %d", text, last)
		} else {
			last = id
		}
	}
	return last
}

// keepSocket is a page with a WebSocket that connects again.
func (u *traffic) keepSocket() {
	client := &http.Client{Transport: &http.Transport{DialContext: u.p.Dial}}
	for u.ctx.Err() == nil {
		conn, resp, err := websocket.Dial(u.ctx, "ws://"+siteAddr+"/ws", &websocket.DialOptions{HTTPClient: client})
		if err == nil {
			u.chat(conn)
		} else if resp != nil && u.ctx.Err() == nil {
			u.problem("the WebSocket got %s", resp.Status)
		}
		u.reconnected()
	}
}

func (u *traffic) chat(conn *websocket.Conn) {
	defer conn.CloseNow()
	for n := 0; u.ctx.Err() == nil; n++ {
		want := strconv.Itoa(n)
		if err := conn.Write(u.ctx, websocket.MessageText, []byte(want)); err != nil {
			return
		}
		_, got, err := conn.Read(u.ctx)
		if err != nil {
			return
		}
		if string(got) != want {
			u.problem("the echo of %s is %s", want, got)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// caseTable has a row for each case, printed when all are done.
type caseTable struct{ rows []caseRow }

type caseRow struct {
	name         string
	sent, failed int64
	toSafe       time.Duration
	code         int
}

func (c *caseTable) print(t *testing.T) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%-52s %9s %9s %12s %9s", "case", "requests", "failed", "time to safe", "exit code")
	for _, r := range c.rows {
		fmt.Fprintf(&b, "\n%-52s %9d %9d %12s %9d", r.name, r.sent, r.failed, r.toSafe.Round(time.Millisecond), r.code)
	}
	t.Log("\n" + b.String())
}

// forgive forgets the problems that mention the text: those of streams that came
// back while the daemon was killed with their request in its hands.
func (u *traffic) forgive(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.problems = slices.DeleteFunc(u.problems, func(p string) bool { return strings.Contains(p, text) })
}
