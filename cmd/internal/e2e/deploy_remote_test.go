package e2e

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

const remoteRepository = "http://" + gitAddr + "/charactier-ai"

// big is a file that no fetch brings a second time.
const big = 1 << 20

// TestDeploysFromARemoteRepository reads it as root does, with root's
// credentials.
func TestDeploysFromARemoteRepository(t *testing.T) {
	program(t, "git", "git")
	p := bootProduction(t, settings{backend: quick, repository: remoteRepository})
	p.users()
	defer p.table.print(t)
	p.repo.must(os.WriteFile(filepath.Join(p.repo.dir, "backend/model.bin"), randomBytes(big), 0o644))
	one := p.repo.commit("one", good)
	p.serveGit()
	p.withoutCredentials()
	p.onlyNewsIsFetched(one)
	p.namesOfRevisions()
	p.onlyInTheMirror()
	p.unreachable()
	p.neverTold()
	t.Log(p.usersLeave().Summary())
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// left is a deploy that must end before it has touched anything.
func (p *production) left(name string, args []string, says ...string) *command {
	p.t.Helper()
	releases := p.releases()
	c := p.try(name, 1, func() *command { return p.ctl(append([]string{"deploy", "--no-bake", "--cut-streams"}, args...)...) })
	c.wants(1, append(says, "stays on "+string(p.active))...)
	p.ends(switcher.KindDeploy, switcher.Failed)
	if now := p.releases(); now != releases {
		p.t.Errorf("%s: the releases were %s and are %s", name, releases, now)
	}
	return c
}

func (p *production) releases() string {
	p.t.Helper()
	return p.Run("sh", "-c", "ls -m "+deployRoot+"/releases 2>/dev/null || true")
}

// withoutCredentials must not wait for somebody to type them.
func (p *production) withoutCredentials() {
	p.left("nobody told us the password", nil, "fetching "+remoteRepository, "could not read Username")
	p.Write("/root/.git-credentials", "http://"+gitUser+":"+gitPassword+"@"+gitAddr+"\n")
	p.Write("/root/.gitconfig", "[credential]\n\thelper = store\n")
}

// onlyNewsIsFetched compares what the server sent.
func (p *production) onlyNewsIsFetched(one string) {
	p.served()
	p.deployed("the whole repository is fetched", one)
	if _, bytes := p.served(); bytes < big {
		p.t.Errorf("the first deploy fetched %d bytes of a repository of %d", bytes, big)
	}
	p.deployed("only what is new is fetched", p.repo.commit("two", good))
	requests, bytes := p.served()
	if requests == 0 || bytes > big/16 {
		p.t.Errorf("the second deploy fetched %d bytes in %d requests, for a few lines", bytes, requests)
	}
	p.t.Logf("the second deploy fetched %d bytes", bytes)
}

// namesOfRevisions are a tag, a branch and the beginning of a revision.
func (p *production) namesOfRevisions() {
	tagged := p.repo.commit("tagged", good)
	p.repo.git("tag", "--annotate", "--message=a release", "v1.2.0")
	named := p.repo.commit("named", good)
	p.deployed("a tag", tagged, "v1.2.0")
	p.deployed("the beginning of a revision", named, named[:10])
	p.left("a tag that is not there", []string{"v1.20"}, "did you mean v1.2.0?")
}

// onlyInTheMirror deploys what the server has no more: a branch that was deleted,
// or a push that was taken back.
func (p *production) onlyInTheMirror() {
	p.repo.git("checkout", "--quiet", "-b", "hotfix")
	below := p.repo.commit("the first half of a fix", good)
	p.deployed("a branch", p.repo.commit("the second half", good), "hotfix")
	p.repo.git("checkout", "--quiet", "main")
	p.repo.git("branch", "--quiet", "-D", "hotfix")
	p.repo.git("reflog", "expire", "--expire=now", "--all")
	p.repo.git("gc", "--quiet", "--prune=now")
	p.left("a branch that was deleted", []string{"hotfix"}, "no such branch, tag or revision")
	p.served()
	p.deployed("a revision that only the mirror has", below, below)
	if requests, _ := p.served(); requests > 0 {
		p.t.Errorf("the server was asked %d times for what the mirror has", requests)
	}
}

// unreachable has the server gone, and come back.
func (p *production) unreachable() {
	next := p.repo.commit("while nobody can be asked", good)
	p.Run("systemctl", "stop", "git-server")
	p.left("the server cannot be reached", nil, "fetching "+remoteRepository, "Failed to connect to 127.0.0.1 port 8418")
	p.left("nor for a revision that the mirror lacks", []string{next}, "Failed to connect to 127.0.0.1 port 8418")
	p.ctl("deploy", "--dry-run", "--cut-streams").wants(0, "git fetch "+remoteRepository) // it asks nobody
	// What is in the mirror needs nobody.
	tagged := p.repo.git("rev-parse", "v1.2.0^{commit}")
	p.deployed("a revision of the mirror, while the server is gone", tagged, tagged)
	p.serveGit()
	p.deployed("the server is back", next)
}

// neverTold has the password in the repository's URL, and looks for it wherever
// something is written.
func (p *production) neverTold() {
	withPassword := settings{backend: quick, repository: "http://" + gitUser + ":" + gitPassword + "@" + gitAddr + "/charactier-ai"}
	p.Run("rm", "/root/.git-credentials")
	p.configure(withPassword)
	done := p.deployed("the password is in the URL", p.repo.commit("by the URL's password", good), "--json").wants(0, "fetching "+remoteRepository)
	p.Run("systemctl", "stop", "git-server")
	failed := p.left("the same, and the server is gone", nil, "fetching "+remoteRepository)
	said := done.said() + failed.said() + p.Run("journalctl", "--boot", "--no-pager", "--output=verbose")
	if strings.Contains(said, gitPassword) {
		p.t.Error("the password was said, or is in the journal")
	}
	found, _ := p.Command(p.t.Context(), "grep", "-rlF", gitPassword, deployRoot, "/var/log/charactier-deploy.log", "/var/lib").CombinedOutput()
	if text := strings.TrimSpace(string(found)); text != "" {
		p.t.Errorf("the password is in %s", text)
	}
}
