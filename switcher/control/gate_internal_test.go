package control

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOthersCannotTakeThePlacesOfRoot(t *testing.T) {
	own := uint32(990)
	g := newGate(nil, access{own: own})
	var leave []func()
	for i := range maxPeerConns {
		stranger := peer{known: true, uid: uint32(1000 + i/maxUserConns), pid: 1}
		leave = append(leave, g.enter(stranger))
		if leave[i] == nil {
			t.Fatal("a stranger was turned away although there was room")
		}
		if i%maxUserConns == maxUserConns-1 && g.enter(stranger) != nil {
			t.Fatal("one user took more than may be")
		}
	}
	if g.enter(peer{known: true, uid: 2000, pid: 1}) != nil || g.enter(peer{}) != nil {
		t.Error("there was room for more than the bound")
	}
	for _, uid := range []uint32{0, own} {
		if g.enter(peer{known: true, uid: uid, pid: 1}) == nil {
			t.Errorf("uid %d was turned away because of others", uid)
		}
	}
	for _, f := range leave {
		f()
		f() // a connection may be closed twice
	}
	if g.others != 0 || len(g.byUser) != 0 {
		t.Errorf("%d places are still taken, by %v", g.others, g.byUser)
	}
}

// The socket has a name for a moment before chmod: nobody else may connect then.
func TestSocketIsClosedFromItsFirstMoment(t *testing.T) {
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "s")
	ln, err := listenClosed(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.ModeSocket|0o600; got != want {
		t.Errorf("mode %v, want %v", got, want)
	}
}
