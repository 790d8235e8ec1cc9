package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// startHTTPUtil starts [serveHTTPUtil] in front of the slot.
func startHTTPUtil(ctx context.Context, w *world, s setup) (*instance, error) {
	return w.part(ctx, "httputil", w.cores.contender, "-to", s.slots[0])
}

// part starts this program as a server of its own.
func (w *world) part(ctx context.Context, name string, cpus []int, args ...string) (*instance, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	c, err := w.spawn(name, cpus, nil, w.self, append([]string{name, "-listen", strings.Join(addrs, ",")}, args...)...)
	if err != nil {
		return nil, err
	}
	in := &instance{addr: addrs[0], second: addrs[1], child: c}
	if err := c.await(ctx, answers("http://"+in.addr+healthPath)); err != nil {
		in.stop()
		return nil, err
	}
	return in, nil
}

// serveHTTPUtil is what the standard library gives with a few lines and a tuned
// Transport.
func serveHTTPUtil(ctx context.Context, args []string, _ io.Writer) error {
	flags := flag.NewFlagSet("httputil", flag.ContinueOnError)
	listen, to := flags.String("listen", "", "addresses"), flags.String("to", "", "the slot's address")
	if err := flags.Parse(args); err != nil {
		return err
	}
	target := &url.URL{Scheme: "http", Host: *to}
	return serve(ctx, *listen, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			host, _, _ := net.SplitHostPort(r.In.RemoteAddr)
			r.Out.Header.Set("X-Real-Ip", host)
		},
		Transport: &http.Transport{
			MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 4 * time.Second,
			DisableCompression: true, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		},
		BufferPool: &bufferPool{sync.Pool{New: func() any { return new(buffer) }}},
	})
}

// serve serves at all addresses until ctx ends.
func serve(ctx context.Context, addrs string, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	var group errgroup.Group
	for addr := range strings.SplitSeq(addrs, ",") {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			server.Close()
			return errors.Join(fmt.Errorf("listening: %w", err), group.Wait())
		}
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving: %w", err)
			}
			return nil
		})
	}
	return group.Wait()
}

type buffer [32 << 10]byte

// bufferPool is a pool for [httputil.ReverseProxy].
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte  { return p.pool.Get().(*buffer)[:] }
func (p *bufferPool) Put(b []byte) { p.pool.Put((*buffer)(b)) }
