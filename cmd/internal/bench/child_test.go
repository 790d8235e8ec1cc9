package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// testWorld has a directory and taskset.
func testWorld(t *testing.T) *world {
	t.Helper()
	taskset, err := lookUp("taskset")
	if err != nil {
		t.Fatalf("taskset of Debian's util-linux is missing: %v", err)
	}
	c, err := layOut(0)
	if err != nil {
		t.Fatal(err)
	}
	return &world{dir: t.TempDir(), cores: c, programs: map[string]string{"taskset": taskset}}
}

func shell(t *testing.T, script string) *child {
	t.Helper()
	w := testWorld(t)
	c, err := w.spawn("shell", w.cores.rest, nil, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

// says is for [child.await]: until the child has written the word.
func (c *child) says(word string) func(context.Context) error {
	return func(context.Context) error {
		if !strings.Contains(c.tail(), word) {
			return errors.New("not yet")
		}
		return nil
	}
}

func TestAChildIsEndedWithItsOwnChildren(t *testing.T) {
	c := shell(t, `trap 'kill $!; wait $!; exit' TERM; sleep 1000 & echo ready; wait`)
	if err := c.await(t.Context(), c.says("ready")); err != nil {
		t.Fatal(err)
	}
	members, err := family(c.pid())
	if err != nil || len(members) != 2 {
		t.Fatalf("family %+v, %v", members, err)
	}
	c.stop()
	for _, m := range members {
		if runs(m.pid) {
			t.Errorf("process %d still runs", m.pid)
		}
	}
}

// runs says whether a process has not ended, whether or not its parent knows.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func TestAChildThatDiesEarlyTellsItsLastWords(t *testing.T) {
	c := shell(t, "echo no such port; exit 3")
	err := c.await(t.Context(), func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such port") {
		t.Errorf("error %v", err)
	}
}

func TestAContenderThatHidesTheClientIsFound(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) string{
		"no fields":    func(*http.Request) string { return "for= real-ip= proto= host= serial=2" },
		"another host": func(*http.Request) string { return "for=127.0.0.1 real-ip=127.0.0.1 proto=http host=slot serial=2" },
		"fresh connections": func(r *http.Request) string {
			return "for=127.0.0.1 real-ip=127.0.0.1 proto=http host=" + r.Host + " serial=1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := inspect(t.Context(), fake(t, answer)); err == nil {
				t.Error("no error")
			}
		})
	}
	good := func(r *http.Request) string {
		return "for=127.0.0.1 real-ip=127.0.0.1 proto=http host=" + r.Host + " serial=2"
	}
	if err := inspect(t.Context(), fake(t, good)); err != nil {
		t.Error(err)
	}
}

// fake is an instance whose slot saw what answer says.
func fake(t *testing.T, answer func(*http.Request) string) *instance {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.Write([]byte(answer(r)))
	}))
	t.Cleanup(server.Close)
	return &instance{addr: server.Listener.Addr().String(), child: &child{}}
}
