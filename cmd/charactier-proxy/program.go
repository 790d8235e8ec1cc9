package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"
)

// programs compares the program that runs with the one that is installed. It reads
// them again only when the latter has changed.
type programs struct {
	installed func() (string, error)

	mu     sync.Mutex
	mark   fileMark
	differ bool
}

// running is the program of this process, also where its file was replaced.
const running = "/proc/self/exe"

// drift says what to do where a start would run another program than this.
func (p *programs) drift() []string {
	path, err := p.installed()
	if err != nil || !p.replaced(path) {
		return nil
	}
	return []string{fmt.Sprintf("the installed program %s is another than the one that runs (%s): charactier-proxyctl upgrade", path, version)}
}

func (p *programs) replaced(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	mark := markOf(path)
	if mark != p.mark {
		p.mark, p.differ = mark, !sameProgram(running, path)
	}
	return p.differ
}

// sameProgram reports whether two files are the same, or have the same content.
// Where that cannot be told, it is taken to be so.
func sameProgram(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return true
	}
	other, err := os.Stat(b)
	if err != nil || os.SameFile(one, other) {
		return true
	}
	if one.Size() != other.Size() {
		return false
	}
	sumA, errA := sumOf(a)
	sumB, errB := sumOf(b)
	return errA != nil || errB != nil || sumA == sumB
}

func sumOf(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
