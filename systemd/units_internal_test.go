package systemd

import (
	"bufio"
	"encoding/binary"
	"net"
	"testing"
	"testing/synctest"

	godbus "github.com/godbus/dbus/v5"
)

// answerFirst is a bus that lets somebody in, answers the first call and no
// other.
func answerFirst(t *testing.T, bus net.Conn) {
	r := bufio.NewReader(bus)
	for _, answer := range []string{"REJECTED EXTERNAL\r\n", "OK 0123456789abcdef0123456789abcdef\r\n", ""} {
		if _, err := r.ReadString('\n'); err != nil {
			t.Error(err)
		}
		if _, err := bus.Write([]byte(answer)); err != nil {
			t.Error(err)
		}
	}
	for answered := false; ; answered = true {
		call, err := godbus.DecodeMessage(r)
		if err != nil {
			return // it was closed
		}
		if answered {
			continue
		}
		reply := godbus.Message{Type: godbus.TypeMethodReply, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldReplySerial: godbus.MakeVariant(call.Serial()),
		}}
		if err := reply.EncodeTo(bus, binary.LittleEndian); err != nil {
			t.Error(err)
		}
	}
}

func TestABusThatHangsKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go answerFirst(t, far)
		bell := newBell()
		conn, err := godbus.NewConn(near, godbus.WithSignalHandler(bell))
		if err == nil {
			err = conn.Auth([]godbus.Auth{godbus.AuthExternal("0")})
		}
		if err != nil {
			t.Fatal(err)
		}
		u := &Units{signals: conn, bell: bell}
		_, leave, err := u.watch(t.Context(), "a.service")
		if err != nil {
			t.Fatal(err)
		}
		left := make(chan struct{})
		go func() { leave(); close(left) }()
		<-left // or nothing ever happens any more, and the test fails
		conn.Close()
		far.Close()
	})
}

// Only the manager tells that a unit was enabled, and after that until when it
// may have answered as before.
func TestTheBellRingsWhenUnitFilesChange(t *testing.T) {
	b := newBell()
	for _, c := range []struct {
		iface, name string
		body        []any
		rings       bool
	}{
		{managerInterface, "UnitFilesChanged", nil, true},
		{managerInterface, "Reloading", []any{false}, true},
		{managerInterface, "Reloading", []any{true}, false},
		{managerInterface, "Reloading", nil, false},
		{managerInterface, "JobNew", []any{uint32(1)}, false},
		{unitInterface, "UnitFilesChanged", nil, false},
	} {
		rung := b.listen("/a")
		b.DeliverSignal(c.iface, c.name, &godbus.Signal{Path: "/org/freedesktop/systemd1", Name: c.iface + "." + c.name, Body: c.body})
		if got := len(rung) == 1; got != c.rings {
			t.Errorf("%s.%s %v: it rang: %v", c.iface, c.name, c.body, got)
		}
		b.leave("/a", rung)
	}
}
