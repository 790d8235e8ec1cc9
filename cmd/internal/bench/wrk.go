package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"charactier-proxy/cmd/internal/bench/drive"
)

// wrkScript makes wrk send what is wanted and print exact numbers.
const wrkScript = `
{{- if .Body}}
wrk.method = "POST"
wrk.body = '{{.Body}}'
wrk.headers["Content-Type"] = "application/json"
{{- end}}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("exactly %d requests %d microseconds %d connect %d read %d write %d status %d timeout\n",
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
end
`

// wrk is a closed-loop load.
type wrk struct {
	path        string
	body        string // of a POST; empty for GET
	connections int
}

// run loads an instance and returns what wrk counted.
func (k wrk) run(ctx context.Context, w *world, addr string, d time.Duration) (outcome, error) {
	dir, err := w.scratch("wrk")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "done.lua")
	if err := fill(script, wrkScript, map[string]string{"Body": k.body}); err != nil {
		return outcome{}, err
	}
	// wrk itself takes whole seconds only.
	seconds := max(int(d.Round(time.Second)/time.Second), 1)
	threads := min(max(len(w.cores.rest)/2, 1), k.connections)
	out, cpu, err := w.once(ctx, w.programs["wrk"], "--threads", strconv.Itoa(threads),
		"--connections", strconv.Itoa(k.connections), "--duration", strconv.Itoa(seconds), "--timeout", "10",
		"--script", script, "http://"+addr+k.path)
	if err != nil {
		return outcome{}, err
	}
	result, err := parseWrk(out)
	return outcome{Result: result, load: cpu}, err
}

// parseWrk reads the line that the script prints.
func parseWrk(out []byte) (drive.Result, error) {
	_, line, ok := bytes.Cut(out, []byte("\nexactly "))
	line, _, whole := bytes.Cut(line, []byte("\n"))
	var requests, micros, connect, read, write, status, timeout int64
	if ok && whole {
		_, err := fmt.Sscanf(string(line), "%d requests %d microseconds %d connect %d read %d write %d status %d timeout",
			&requests, &micros, &connect, &read, &write, &status, &timeout)
		ok = err == nil && micros > 0
	}
	if !ok || !whole {
		return drive.Result{}, fmt.Errorf("wrk printed no numbers:\n%s", out)
	}
	r := drive.Result{
		Sent:    requests - status,
		Failed:  connect + read + write + status + timeout,
		Elapsed: time.Duration(micros) * time.Microsecond,
	}
	if r.Failed > 0 {
		r.Fault = "wrk counted: " + string(line)
	}
	return r, nil
}
