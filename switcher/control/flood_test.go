package control_test

import (
	"bufio"
	"errors"
	"os"
	"testing"

	"charactier-proxy/switcher/control"
)

// A member of the reading group may look. With a thousand connections that say
// nothing it takes its own places, and nobody else's.
func TestOneWhoMayLookCanLockNobodyElseOut(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("acting as another user needs root")
	}
	w := serve(t, fake{}, groups("61000", "61001"))
	openDoor(t, w.socket)
	cmd := childAs(t, nobody, w.socket, 61001)
	cmd.Env = append(cmd.Env, childFlood+"=1")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(input.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}()
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for range 20 {
		if _, err := w.client.Status(t.Context()); err != nil {
			t.Errorf("root looks: %v", err)
		}
		if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
			t.Errorf("root switches: %v", err)
		}
	}
	out, err := childAs(t, nobody-1, w.socket, 61000).CombinedOutput()
	if want := "look: done\nchange: done\n"; err != nil || string(out) != want {
		t.Errorf("another user of the group: %v\n%s", err, out)
	}
}
