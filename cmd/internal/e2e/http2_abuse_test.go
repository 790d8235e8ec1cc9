package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Types and flags of frames (RFC 9113, section 6).
const (
	h2Data, h2Headers, h2Reset, h2Settings, h2Ping, h2Window, h2Continuation = 0, 1, 3, 4, 6, 8, 9
	h2EndStream, h2EndHeaders                                                = 1, 4
)

// frame is one frame of HTTP/2.
func frame(kind, flags byte, stream uint32, payload string) string {
	head := make([]byte, 9)
	head[0], head[1], head[2] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
	head[3], head[4] = kind, flags
	binary.BigEndian.PutUint32(head[5:], stream)
	return string(head) + payload
}

// stubborn is how long it goes on where nothing is taken any more.
const stubborn = 3 * time.Second

const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// getHang is GET /hang of a: fields of HPACK's static table, and two that are
// spelled.
const getHang = "\x82\x86\x04\x05/hang\x41\x01a"

// getHealth is the same of a path that is answered at once.
const getHealth = "\x82\x86\x04\x06/quick\x41\x01a"

// abuse says so many things, or as many as are taken, and returns that number.
func abuse(t *testing.T, addr string, most uint32, reads bool, say func(i uint32) string) (sent uint32) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(stubborn)); err != nil {
		t.Error(err)
	}
	if reads {
		go io.Copy(io.Discard, c) //nolint:errcheck // it ends with the connection
	}
	if _, err := io.WriteString(c, h2Preface+frame(h2Settings, 0, 0, "")); err != nil {
		return 0
	}
	for sent < most {
		var b strings.Builder
		for range 50 {
			b.WriteString(say(sent))
			sent++
		}
		if _, err := io.WriteString(c, b.String()); err != nil {
			break
		}
	}
	return sent
}

// TestSoakAbuseOfHTTP2CostsTheOthersNothing repeats the known attacks while others
// use the same listener.
func TestSoakAbuseOfHTTP2CostsTheOthersNothing(t *testing.T) {
	const mostMemory = 768 << 20 // bytes, with the race detector
	most, requests := uint32(size(t, "SOAK_ABUSE", 5_000, 100_000)), size(t, "SOAK_ABUSE_REQUESTS", 50, 500)
	slot := startPatientNode(t)
	d := startDaemon(t, slot, startPatientNode(t))
	before, err := d.usage()
	if err != nil {
		t.Fatal(err)
	}
	odd := func(i uint32) uint32 { return 2*i + 1 }
	huge := strings.Repeat("\x00\x03abc\x7f\x81\x02"+strings.Repeat("x", 256), 60)
	table := fmt.Sprintf("%-52s %10s %8s %7s %9s %8s", "", "injected", "sent", "failed", "p99", "MiB more")
	for _, attack := range []struct {
		name  string
		reads bool
		say   func(i uint32) string
	}{
		{"rapid reset (CVE-2023-44487)", true, func(i uint32) string {
			return frame(h2Headers, h2EndStream|h2EndHeaders, odd(i), getHang) + frame(h2Reset, 0, odd(i), "\x00\x00\x00\x08")
		}},
		{"reset by us, made necessary (CVE-2025-8671)", true, func(i uint32) string {
			return frame(h2Headers, h2EndStream|h2EndHeaders, odd(i), getHang) + frame(h2Window, 0, odd(i), "\x00\x00\x00\x00")
		}},
		{"CONTINUATION without end (CVE-2023-45288)", true, func(i uint32) string {
			if i == 0 {
				return frame(h2Headers, h2EndStream, 1, getHang)
			}
			return frame(h2Continuation, 0, 1, huge)
		}},
		{"empty CONTINUATION without end", true, func(i uint32) string {
			if i == 0 {
				return frame(h2Headers, h2EndStream, 1, getHang)
			}
			return frame(h2Continuation, 0, 1, "")
		}},
		{"SETTINGS, whose answers are not read (CVE-2019-9515)", false, func(uint32) string { return frame(h2Settings, 0, 0, "") }},
		{"PING, whose answers are not read (CVE-2019-9512)", false, func(uint32) string { return frame(h2Ping, 0, 0, "12345678") }},
		{"empty DATA (CVE-2019-9518)", true, func(i uint32) string {
			if i == 0 {
				return frame(h2Headers, h2EndHeaders, 1, strings.Replace(getHang, "\x82", "\x83", 1))
			}
			return frame(h2Data, 0, 1, "")
		}},
		{"answers with no window to send them (CVE-2019-9511)", true, func(i uint32) string {
			window := ""
			if i == 0 {
				window = frame(h2Settings, 0, 0, "\x00\x04\x00\x00\x00\x00")
			}
			return window + frame(h2Headers, h2EndStream|h2EndHeaders, odd(i), "\x82\x86\x04\x04/big\x41\x01a")
		}},
		{"requests whose answers are not read", false, func(i uint32) string {
			return frame(h2Headers, h2EndStream|h2EndHeaders, odd(i), getHealth)
		}},
		{"more streams than there may be", true, func(i uint32) string {
			return frame(h2Headers, h2EndStream|h2EndHeaders, odd(i), getHang)
		}},
	} {
		var total atomic.Int64
		var abusers sync.WaitGroup
		for range 4 {
			abusers.Go(func() { total.Add(int64(abuse(t, d.addr, most, attack.reads, attack.say))) })
		}
		r := othersFare(t, d.addr, requests)
		abusers.Wait()
		now, err := d.usage()
		if err != nil {
			t.Fatal(err)
		}
		table += fmt.Sprintf("\n%-52s %10d %8d %7d %9s %8d", attack.name, total.Load(), r.Sent, r.Failed, r.P99.Round(100*time.Microsecond), (now.rss-before.rss)>>20)
		if r.Failed > 0 || r.Sent < requests {
			t.Errorf("%s: the others: %s", attack.name, r)
		}
		if now.rss > before.rss+mostMemory {
			t.Errorf("%s: %s, before %s", attack.name, now, before)
		}
	}
	t.Log("\n" + table)
	d.atRest(before)
	if got := d.slots()["blue"]; got.Health.State != "healthy" || got.Errors > 0 {
		t.Errorf("the slot is %s with %d errors", got.Health.State, got.Errors)
	}
}
