package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/proxy"
)

// serveSelf sends requests to a slot of our own by a whole data path, through both
// lanes and with each service's settings, and fails unless they are answered.
func serveSelf(ctx context.Context, cfg *config.Config) error {
	slot, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	group, running := errgroup.WithContext(ctx)
	server := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 5 * time.Second}
	group.Go(func() error { return ended(server.Serve(slot)) })
	err = askSelf(running, group, cfg, slot.Addr().String())
	cancel()
	return errors.Join(err, server.Close(), group.Wait())
}

func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	io.Copy(w, r.Body) //nolint:errcheck // who asks tells
}

func askSelf(ctx context.Context, group *errgroup.Group, cfg *config.Config, slot string) error {
	p := proxy.New(proxy.Options{})
	services, active := cfg.ProxyServices(), map[string]string{}
	for i := range services {
		services[i].Slots = map[string]string{"self": slot}
		active[services[i].Name] = "self"
	}
	if _, err := p.Configure(cfg.ProxySettings(), services, active, nil); err != nil {
		return err
	}
	for _, s := range services {
		if err := askService(ctx, group, p, s.Name); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

func askService(ctx context.Context, group *errgroup.Group, p *proxy.Proxy, service string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	lane := p.Lane(service, nil)
	server := proxy.NewServer(proxy.ServerOptions{
		Handler: p.Handler(service), Lane: func() *proxy.Lane { return lane }, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second,
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group.Go(func() error { return server.Serve(ctx, ln) })
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	text := "a request to itself"
	for _, body := range []io.Reader{strings.NewReader(text), struct{ io.Reader }{strings.NewReader(text)}} { // the second is chunked
		if err := post(ctx, client, "http://"+ln.Addr().String()+"/", body, text); err != nil {
			return err
		}
	}
	return nil
}

func post(ctx context.Context, client *http.Client, url string, body io.Reader, want string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil || res.StatusCode != http.StatusOK || string(got) != want {
		return errors.Join(fmt.Errorf("it was answered with %s and %q", res.Status, got), err)
	}
	return nil
}
