package notify

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// maxURL bounds a webhook's address.
const maxURL = 4096

// webhook returns the address that target names: itself, or what the file that
// it names holds.
func webhook(target string) (*url.URL, error) {
	text, from := target, "the webhook"
	if path, ok := strings.CutPrefix(target, "file:"); ok {
		var err error
		if text, err = readSecret(path); err != nil {
			return nil, err
		}
		from = path
	}
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s: that is not an http or https URL", from) // err repeats it
	}
	return u, nil
}

// readSecret reads a file that nobody but its owner, and ourselves, may read.
func readSecret(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // nothing was written to it
	info, err := file.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s may be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != 0 && owner.Uid != uint32(os.Geteuid()) {
		return "", fmt.Errorf("%s belongs to another user; run: chown %d %s", path, os.Geteuid(), path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxURL+1))
	if err == nil && len(text) > maxURL {
		err = errors.New("it is longer than a URL may be")
	}
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return string(text), nil
}
