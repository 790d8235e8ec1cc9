package proxy

import (
	"io"
	"net/http"
	"testing"

	"charactier-proxy/proxy/proxytest"
)

// A server that stops while a request waits for its slot has it answered, and
// passes its connection on then.
func TestARequestThatWaitsOutlivesTheStopWithASuccessor(t *testing.T) {
	for _, how := range []string{"fast", "standard"} {
		t.Run(how, func(t *testing.T) {
			f := startDown(t, longStop, func(o *frontOptions) { o.lane = how })
			_, passed := heirOf(t, f, named(t, "new"))
			c := f.dial()
			c.say(helloPost)
			f.awaitWaiting(1)
			ended := f.stopping()
			f.await("the server to stop", f.server.runs.Load().isStopping)
			comeUp(t, "tcp", f.address(), echo)
			c.keepsAnswer("POST", "hello")
			f.ends(ended, patience)
			c.say(helloPost)
			c.keepsAnswer("POST", "new")
			if passed.Load() != 1 {
				t.Errorf("%d connections were passed on", passed.Load())
			}
		})
	}
}

// What came behind an upload goes along with its connection.
func TestWhatCameBehindAnUploadIsPassedOn(t *testing.T) {
	for _, end := range []string{"0\r\n\r\n", "0\r\nX-Sum: 42\r\n\r\n"} {
		arrived, letGo := make(chan bool, 1), make(chan bool)
		slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
			arrived <- true
			body, _ := io.ReadAll(r.Body)
			<-letGo
			w.Write(body) //nolint:errcheck // the client tells
		})
		f := startFront(t, slot, longStop, func(o *frontOptions) { o.lane = laneFast }) // net/http gives back nothing
		heirOf(t, f, named(t, "new"))
		c := f.dial()
		c.say(chunkedPost + "3\r\nabc\r\n")
		<-arrived
		c.say("3\r\ndef\r\n" + end + "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP")
		f.awaitRead(t, c.Conn)
		ended := f.stopping()
		f.await("the server to stop", f.server.runs.Load().isStopping)
		close(letGo)
		c.keepsAnswer("POST", "abcdef")
		c.keepsAnswer("GET", "new")
		c.say("/1.1\r\nHost: a\r\n\r\n")
		c.keepsAnswer("GET", "new")
		f.ends(ended, patience)
		c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.keepsAnswer("GET", "new")
	}
}

// An upload that the slot did not want ends with its answer, whoever waits for the
// connection.
func TestAnAnswerBeforeTheEndOfABodyEndsItsConnectionAcrossTheStop(t *testing.T) {
	letGo := make(chan bool)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		<-letGo
		c.Answer("enough")
		c.Hang()
	})
	for _, request := range uploads(4 * spliceFrom) {
		f := startFront(t, slot.Addr(), longStop)
		_, passed := heirOf(t, f, named(t, "new"))
		c := f.dial()
		c.say(request[:len(request)/8])
		f.awaitRead(t, c.Conn)
		ended := f.stopping()
		f.await("the server to stop", f.server.runs.Load().isStopping)
		letGo <- true
		if res, body := c.whole("POST"); !res.Close || body != "enough" {
			t.Errorf("%s, %q, close: %v", res.Status, body, res.Close)
		}
		c.ended()
		f.ends(ended, patience)
		if passed.Load() != 0 {
			t.Error("a connection was passed on in the middle of a body")
		}
	}
}
