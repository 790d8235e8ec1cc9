package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
)

// nginx is a real one in front of the first service, with the site of the sample
// files.
type nginx struct {
	*process
	addr string
}

// startNginx runs it in a directory of its own.
func startNginx(ctx context.Context, o *Options, backend, frontend string) (*nginx, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, "nginx")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	site := struct{ User, Listen, Backend, Frontend string }{Listen: addr, Backend: backend, Frontend: frontend}
	if os.Geteuid() == 0 {
		site.User = "root" // or the workers cannot enter the directory
	}
	for _, name := range []string{"nginx.conf", "upstream.conf", "site.conf"} {
		if err := fill(filepath.Join(o.NginxFiles, name+".tmpl"), filepath.Join(dir, name), site); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(o.Nginx, "-p", dir, "-c", "nginx.conf", "-e", filepath.Join(dir, "error.log"))
	p, err := spawn("nginx", filepath.Join(o.Dir, "nginx.log"), cmd)
	if err != nil {
		return nil, err
	}
	return &nginx{p, addr}, p.awaitListening(ctx, addr)
}

func fill(tmpl, to string, with any) error {
	t, err := template.ParseFiles(tmpl)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.Execute(f, with); err != nil {
		return fmt.Errorf("filling %s: %w", tmpl, err)
	}
	return nil
}
