package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The paths of the slot.
const (
	healthPath = "/api/v1/health"
	smallPath  = "/small"
	postPath   = "/post"
	seenPath   = "/seen"
	middlePath = "/64k"
	largePath  = "/1m"
)

// The sizes of its answers in bytes.
const (
	smallSize  = 97
	middleSize = 64 << 10
	largeSize  = 1 << 20
)

// slotConfig answers at once, from memory, at two addresses.
const slotConfig = nginxMain + `
    open_file_cache max=16;
    server {
        listen {{.Listen}} backlog=4096;
        listen {{.Second}} backlog=4096;
        root {{.Root}};
        location = ` + healthPath + ` { return 200 "ok"; }
        location = ` + smallPath + ` { return 200 "{{.Small}}"; }
        location = ` + postPath + ` { return 200 "{{.Small}}"; }
        location = ` + seenPath + ` {
            return 200 "for=$http_x_forwarded_for real-ip=$http_x_real_ip proto=$http_x_forwarded_proto host=$http_host serial=$connection_requests";
        }
        location / { }
    }
}
`

// startSlots starts the slot, and another one for WebSockets.
func (w *world) startSlots(ctx context.Context) error {
	root, err := w.files()
	if err != nil {
		return err
	}
	v := nginxValues{Workers: len(w.cores.rest), Root: root, Small: strings.Repeat("x", smallSize)}
	if w.slot, err = w.nginx(ctx, "slot", slotConfig, v, w.cores.rest); err != nil {
		return err
	}
	w.echo, err = w.part(ctx, "echo", w.cores.rest)
	return err
}

// files writes the large answers and returns their directory.
func (w *world) files() (string, error) {
	dir, err := w.scratch("html")
	if err != nil {
		return "", err
	}
	for path, size := range map[string]int{middlePath: middleSize, largePath: largeSize} {
		content := []byte(strings.Repeat("0123456789abcdef", size/16))
		if err := os.WriteFile(filepath.Join(dir, path), content, 0o600); err != nil {
			return "", fmt.Errorf("writing the slot's files: %w", err)
		}
	}
	return dir, nil
}
