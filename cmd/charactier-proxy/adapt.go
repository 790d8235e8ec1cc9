package main

import (
	"context"

	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
)

// traffic is the data path as the switcher sees it.
type traffic struct {
	*proxy.Proxy
	streams *streams
}

// Swap moves the services in one instant.
func (t traffic) Swap(to map[string]switcher.Slot) (switcher.Drain, error) {
	slots := make(map[string]string, len(to))
	for service, slot := range to {
		slots[service] = string(slot)
	}
	retired, err := t.Proxy.Swap(slots)
	if err != nil {
		return nil, err
	}
	t.streams.moved(to)
	return func(ctx context.Context) ([]switcher.DrainCount, error) {
		counts, err := retired.Drain(ctx)
		out := make([]switcher.DrainCount, len(counts))
		for i, c := range counts {
			out[i] = switcher.DrainCount{
				Service: c.Service, Slot: switcher.Slot(c.Slot),
				Moved: c.Moved, OpenRequests: c.OpenRequests, OpenStreams: c.OpenStreams, Took: c.Took,
			}
			if c.OpenStreams > 0 {
				out[i].StreamsUntil = t.streams.until(place{c.Service, switcher.Slot(c.Slot)})
			}
		}
		return out, err
	}, nil
}
