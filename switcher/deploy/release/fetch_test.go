package release

import (
	"bufio"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fetchAndTell fetches and checks out, and prints all that git says.
func fetchAndTell(args []string) error {
	root, repository := args[0], args[1]
	s, err := OpenWith(root, Options{Progress: func(line string) { fmt.Println(line) }})
	if err != nil {
		return err
	}
	c, err := s.Resolve(context.Background(), repository, "main")
	if err != nil {
		return err
	}
	fmt.Println("resolved")
	_, err = s.Checkout(context.Background(), c, nameAt(1), parts)
	fmt.Println("checked out")
	return err
}

func TestAKillWhileFetchingIsMendedByTheNext(t *testing.T) {
	r := newRepo(t)
	for n := range 300 {
		r.write("backend/src/"+strconv.Itoa(n), strings.Repeat(strconv.Itoa(n*7919), 3000))
	}
	r.commit("many files")
	root := filepath.Join(t.TempDir(), "root")
	for after := 1; ; after += 3 {
		s, _ := newStoreIn(t, root)
		cmd := child(t, "fetch", root, r.dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said, last := 0, ""
		for lines := bufio.NewScanner(out); said < after && lines.Scan(); said++ {
			last = lines.Text()
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Logf("killed after %d lines, the last of which is %q", said, last)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c, err := s.Resolve(ctx, r.dir, "main")
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Checkout(t.Context(), c, nameAt(1), parts)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Discard(); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, s)
		if said < after {
			return // it came to its end
		}
		// A new store fetches all again.
		if after < 30 {
			root = filepath.Join(t.TempDir(), "root")
		}
	}
}
