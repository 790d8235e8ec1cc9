package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/bench/drive"
)

const wrkOutput = `Running 1s test @ http://127.0.0.1:8080/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.62ms    3.25ms  34.25ms   93.80%
    Req/Sec    68.53k     9.70k   81.27k    70.00%
  68264 requests in 1.00s, 18.75MB read
Requests/sec:  67961.30
Transfer/sec:     18.67MB
`

func TestWrkIsReadExactly(t *testing.T) {
	got, err := parseWrk([]byte(wrkOutput + "exactly 68264 requests 1004454 microseconds 0 connect 0 read 0 write 0 status 0 timeout\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(drive.Result{Sent: 68264, Elapsed: 1004454 * time.Microsecond}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What was answered with a bad status is among wrk's requests.
func TestEachFaultThatWrkCountsIsAFailure(t *testing.T) {
	got, err := parseWrk([]byte(wrkOutput + "exactly 100 requests 1000 microseconds 1 connect 2 read 4 write 8 status 16 timeout\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Failed != 31 || got.Sent != 92 || got.Err() == nil {
		t.Errorf("%d failed, %d sent, error %v; want 31, 92 and one", got.Failed, got.Sent, got.Err())
	}
}

func TestWrkWithoutNumbersIsAnError(t *testing.T) {
	for _, text := range []string{
		"", wrkOutput,
		wrkOutput + "exactly 68264 requests 1004454 microseconds 0 connect 0 read 0 write 0 status 0 timeout", // cut off
		wrkOutput + "exactly many requests 1004454 microseconds 0 connect 0 read 0 write 0 status 0 timeout\n",
		wrkOutput + "exactly 0 requests 0 microseconds 0 connect 0 read 0 write 0 status 0 timeout\n",
	} {
		if got, err := parseWrk([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}
