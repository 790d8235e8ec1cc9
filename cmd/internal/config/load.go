package config

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxSize is a hundred times what a large configuration needs.
const maxSize = 64 << 10

// Load reads the configuration at path. An error of type [Problems] says what
// is wrong inside the file; any other one that it could not be read or may not
// be trusted. It wraps [fs.ErrNotExist] if there is no file.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, data)
}

// read returns what is in the file, unless it is too large or others than root
// and ourselves may have written it.
func read(path string) ([]byte, error) {
	// A FIFO would block the open until somebody writes.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := trusted(path, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("%s has more than %s", path, Bytes(maxSize))
	}
	return data, nil
}
