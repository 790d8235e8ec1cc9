package e2e

import (
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// goInstall builds somebody else's program and returns its path.
func goInstall(t *testing.T, pkg, version string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "install", pkg+"@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install %s: %v\n%s", pkg, err, out)
	}
	return filepath.Join(dir, filepath.Base(pkg))
}

// grpcCases are those of gRPC's interop client that need no TLS.
func grpcCases() []string {
	return []string{
		"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
		"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
		"special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
	}
}

// TestGRPCInterop runs gRPC's own client against gRPC's own server through us,
// over h2c on both sides, while we switch.
func TestGRPCInterop(t *testing.T) {
	const version = "v1.85.0"
	server := goInstall(t, "google.golang.org/grpc/interop/server", version)
	client := goInstall(t, "google.golang.org/grpc/interop/client", version)
	blue, green := startGRPC(t, server, "blue"), startGRPC(t, server, "green")
	d := newDaemon(t, freeAddr(t), blue, green, "protocol: h2c")
	// gRPC's server has no health route that we could ask.
	d.launch()
	d.awaitListening(d.addr)

	_, port, _ := strings.Cut(d.addr, ":")
	for round := range 3 {
		for _, name := range grpcCases() {
			t.Run(fmt.Sprintf("round %d/%s", round+1, name), func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), client,
					"--server_host", "127.0.0.1", "--server_port", port, "--test_case", name)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		_, err := d.api.Switch(t.Context(), control.SwitchRequest{Force: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := d.status(); got.Active != switcher.Green {
		t.Errorf("after three switches %s is active", got.Active)
	}
}

func startGRPC(t *testing.T, server, name string) string {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	start(t, "gRPC slot "+name, exec.Command(server, "--port", port)).awaitListening(addr)
	return addr
}

// knownH2Failures are cases of h2spec that net/http's HTTP/2 server answers
// otherwise than h2spec wants. It takes the two fields for what they are worth:
// neither reaches a slot.
func knownH2Failures() []string {
	return []string{
		"Sends invalid connection preface", // taken for HTTP/1, and answered 400
		"Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
		"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
		"Sends a HEADERS frame that contains the connection-specific header field",
		"Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"",
	}
}

// TestH2Spec holds our HTTP/2 side to RFC 9113 with h2spec, over h2c.
func TestH2Spec(t *testing.T) {
	h2spec := goInstall(t, "github.com/summerwind/h2spec/cmd/h2spec", "v2.2.1+incompatible")
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr)
	_, port, _ := strings.Cut(d.addr, ":")
	report := filepath.Join(t.TempDir(), "report.xml")
	cmd := exec.CommandContext(t.Context(), h2spec, "-h", "127.0.0.1", "-p", port, "-o", "2", "-P", "/api/v1/health", "-j", report)
	cmd.WaitDelay = time.Second
	// Its exit code says that something failed; the report says what.
	out, _ := cmd.CombinedOutput()

	var suites struct {
		Suites []struct {
			Cases []struct {
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	raw, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := xml.Unmarshal(raw, &suites); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			total++
			if (c.Failure != nil || c.Error != nil) && !slices.Contains(knownH2Failures(), c.Name) {
				t.Errorf("failed: %s", c.Name)
			}
		}
	}
	if total < 140 {
		t.Errorf("%d cases ran, want more than 140\n%s", total, out)
	}
}
