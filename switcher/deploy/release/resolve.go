package release

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Commit is a revision of a repository, in the mirror.
type Commit struct {
	Revision  string    `json:"revision"` // the full hash
	Ref       string    `json:"ref"`      // what was asked for
	Source    string    `json:"source"`   // the repository without credentials
	Subject   string    `json:"subject"`  // the first line of its message
	Author    string    `json:"author"`   // the name
	Committed time.Time `json:"committed"`
}

var hexPattern = regexp.MustCompile(`^[0-9a-f]{4,64}$`)

// Resolve finds what a branch, a tag or a revision (or the beginning of one) is
// in the repository now. It brings the mirror up to date first, but for a full
// revision that the mirror has, which cannot have become another one: that is
// found without the network. A branch goes before a revision that is spelled
// like it; a name that is both a branch and a tag is ambiguous unless it is
// spelled refs/heads/… or refs/tags/….
func (s *Store) Resolve(ctx context.Context, repository, ref string) (Commit, error) {
	repo, err := parseRepository(repository)
	if err != nil {
		return Commit{}, fmt.Errorf("finding %q: %w", ref, err)
	}
	if err := CheckRef(ref); err != nil {
		return Commit{}, err
	}
	m, err := s.lockMirror(ctx, unix.LOCK_EX)
	if err != nil {
		return Commit{}, fmt.Errorf("finding %s in %s: %w", ref, repo.source, err)
	}
	defer m.Close()
	c, err := m.resolve(ctx, repo, ref)
	if err != nil {
		return Commit{}, fmt.Errorf("finding %s in %s: %w", ref, repo.source, full(err))
	}
	return c, nil
}

func (m *mirror) resolve(ctx context.Context, repo repository, ref string) (Commit, error) {
	if err := m.ready(ctx); err != nil {
		return Commit{}, err
	}
	isHash := hashPattern.MatchString(ref)
	if !isHash || !m.isFrom(repo) || !m.has(ctx, ref) {
		if err := m.fetch(ctx, repo); err != nil {
			return Commit{}, err
		}
	}
	hash, err := m.find(ctx, ref)
	if isHash && errors.Is(err, ErrNoSuchRef) && ctx.Err() == nil {
		// No branch and no tag has it, but the repository may, as that of a pull
		// request.
		if m.fetchRefs(ctx, repo, "origin", ref) == nil {
			hash, err = m.find(ctx, ref)
		}
	}
	if err != nil {
		return Commit{}, err
	}
	return m.describe(ctx, repo, ref, hash)
}

func (m *mirror) has(ctx context.Context, hash string) bool {
	_, err := m.gitOutput(ctx, "cat-file", "-e", hash+"^{commit}")
	return err == nil
}

// find returns the full hash of the commit that ref is in the mirror.
func (m *mirror) find(ctx context.Context, ref string) (string, error) {
	refs, err := m.refs(ctx)
	if err != nil {
		return "", err
	}
	branch, isBranch := refs["refs/heads/"+ref]
	tag, isTag := refs["refs/tags/"+ref]
	full, isFull := refs[ref]
	switch {
	case isBranch && isTag && branch != tag:
		return "", fmt.Errorf("%w: it is a branch and a tag: say refs/heads/%s or refs/tags/%s", ErrAmbiguous, ref, ref)
	case isBranch:
		return branch, nil
	case isTag:
		return tag, isCommit(tag, ref)
	case isFull:
		return full, isCommit(full, ref)
	case hexPattern.MatchString(ref):
		return m.findHash(ctx, ref, refs)
	}
	return "", noSuchRef(refs, ref)
}

func isCommit(hash, ref string) error {
	if hash == "" {
		return fmt.Errorf("%w: %s is a tag of no commit", ErrNoSuchRef, ref)
	}
	return nil
}

// refs are all branches and tags with the commits that they lead to, "" for a
// tag of something else.
func (m *mirror) refs(ctx context.Context) (map[string]string, error) {
	out, err := m.gitOutput(ctx, "for-each-ref",
		"--format=%(refname) %(objecttype) %(objectname) %(*objecttype) %(*objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		hash := ""
		for i := 1; i+1 < len(fields); i += 2 {
			if fields[i] == "commit" {
				hash = fields[i+1]
			}
		}
		if len(fields) > 0 {
			refs[fields[0]] = hash
		}
	}
	return refs, nil
}

func (m *mirror) findHash(ctx context.Context, ref string, refs map[string]string) (string, error) {
	out, err := m.gitOutput(ctx, "rev-parse", "--verify", "--end-of-options", ref+"^{commit}")
	switch {
	case err == nil:
		return strings.TrimSpace(out), nil
	case strings.Contains(err.Error(), "ambiguous"): // pinned by a test
		return "", fmt.Errorf("%w: several revisions begin with %s", ErrAmbiguous, ref)
	case ctx.Err() != nil:
		return "", err
	}
	return "", noSuchRef(refs, ref)
}

func (m *mirror) describe(ctx context.Context, repo repository, ref, hash string) (Commit, error) {
	out, err := m.gitOutput(ctx, "log", "-1", "--no-show-signature", "--no-color", "--format=%H%x00%ct%x00%an%x00%s", hash, "--")
	if err != nil {
		return Commit{}, err
	}
	fields := strings.SplitN(strings.TrimSuffix(out, "\n"), "\x00", 4)
	if len(fields) != 4 || !hashPattern.MatchString(fields[0]) {
		return Commit{}, fmt.Errorf("git says of %s what is not understood: %q", hash, out)
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return Commit{}, fmt.Errorf("the time of %s: %w", hash, err)
	}
	return Commit{
		Revision: fields[0], Ref: ref, Source: repo.source, Committed: time.Unix(at, 0).UTC(),
		Author: tidy(fields[2], maxText), Subject: tidy(fields[3], maxText),
	}, nil
}

// noSuchRef names what may have been meant.
func noSuchRef(refs map[string]string, ref string) error {
	names := make([]string, 0, len(refs))
	for name := range refs {
		names = append(names, shortRef(name))
	}
	slices.Sort(names)
	if len(names) == 0 {
		return fmt.Errorf("%w: it has no branches at all", ErrNoSuchRef)
	}
	if found := near(slices.Compact(names), shortRef(ref)); len(found) > 0 {
		return fmt.Errorf("%w: did you mean %s?", ErrNoSuchRef, strings.Join(found, " or "))
	}
	return ErrNoSuchRef
}

func shortRef(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, "refs/heads/"), "refs/tags/")
}

// near are the branches and tags that are spelled almost like ref, the nearest
// first.
func near(refs []string, ref string) []string {
	const most = 3
	type candidate struct {
		name string
		far  int
	}
	var found []candidate
	for _, name := range refs {
		far := distance(strings.ToLower(name), strings.ToLower(ref))
		if strings.Contains(name, ref) || strings.Contains(ref, name) {
			far = min(far, 2)
		}
		if far <= max(2, len(ref)/3) {
			found = append(found, candidate{name, far})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, c := range found[:min(most, len(found))] {
		names = append(names, c.name)
	}
	return names
}

// distance is how many letters have to be changed, left out or put in.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
