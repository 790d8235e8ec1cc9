// Package release keeps releases on disk: it makes one from a git revision or
// from an artifact, seals it, points slots at it, and removes the old ones. It
// imports nothing of this module.
//
// # Words
//
// A release is one built revision in a directory of its own that never changes
// afterwards. Until it is sealed it is a draft: nobody but its maker sees it. A
// part is the directory within a release that belongs to one service.
//
// # The disk
//
//	root/releases/<name>/   sealed: root's, read-only, with a .release.json
//	root/drafts/<name>/     being made or being removed; tree/ is the release to be
//	root/shared/<service>/  what all releases share: .env, uploads
//	root/cache/             for builds; this package only makes it
//	root/mirror.git/        the kept bare mirror of the repository
//	root/links/             which links were pointed at a release, for Prune
//	root/marks/<name>       why the release did not prove itself
//
// # Invariants
//
//   - R1 What is listed is complete: a release enters releases/ by one rename,
//     after all of it is on disk, and leaves it by one rename.
//   - R2 What is listed does not change: it belongs to root, nobody may write
//     it, no process has a file of it open for writing, no file of it has
//     another name elsewhere.
//   - R3 Nothing in a release leads out of it, but the links to shared/ that
//     were asked for.
//   - R4 A release that is in use, that a link leads to, or that is the newest
//     is never pruned.
//   - R5 What a build left behind is never trusted: no symbolic link is followed
//     while a draft is handed over, sealed or removed.
//
// # What a crash leaves
//
//	while a draft is made, built or sealed  a draft, which Sweep removes
//	after the rename into releases/         the release, sealed and listed
//	while releases are pruned               each one whole or a draft to sweep
//	while a link is pointed                 the old link or the new one
//	while the mirror is fetched             a mirror that the next fetch mends
//
// A draft is locked (flock) by the process that makes it, so that Sweep tells
// the dead ones from the living, and [Draft.Seal] syncs the file system once
// before the rename rather than each file.
//
// # git
//
// Commands that reach the network run with the configuration of the user that
// runs this program, which is root in a deploy: his ssh keys, credential
// helpers, proxies and url.insteadOf count, because a private repository cannot
// be had without them. His home comes from the user database and not from HOME,
// so that sudo does not lend root the configuration of whoever called it. All
// other commands, those that put files on disk among them, see no configuration
// at all: no hook, no filter, no fsmonitor, no line-end conversion but what the
// revision's own .gitattributes say. Nothing ever asks: there is no terminal, no
// askpass, and ssh is in batch mode. Of transports only https, http, ssh, git
// and local paths are used.
//
// A local repository may belong to anybody: git's upload-pack reads it, and that
// is made for repositories that are not trusted.
package release
