package release

import "errors"

var (
	// ErrNotFound: no release has this name or revision.
	ErrNotFound = errors.New("no such release")
	// ErrAmbiguous: more than one thing is meant; the text names them.
	ErrAmbiguous = errors.New("ambiguous")
	// ErrExists: a release has this name already.
	ErrExists = errors.New("there is such a release already")
	// ErrBusy: another process makes a release of this name.
	ErrBusy = errors.New("another process makes it")
	// ErrNoSuchRef: the repository has no such branch, tag or revision; the text
	// names those that are near.
	ErrNoSuchRef = errors.New("no such branch, tag or revision")
	// ErrUnsupported: the revision or the archive needs what a release cannot
	// have, such as submodules.
	ErrUnsupported = errors.New("not supported")
	// ErrUnsafe: a path or a link that leads out, a file that is none, an owner
	// or a mode that lets others write.
	ErrUnsafe = errors.New("not safe")
	// ErrNoSpace: the disk has not got room for it.
	ErrNoSpace = errors.New("not enough room on the disk")
)
