package e2e

import (
	"fmt"
	"testing"
)

// The machine of the guide before its first deploy: the active slot's unit runs
// in a directory of its own, and there is no link. Right after the first deploy
// that unit is the only way back.
func TestARollbackGoesToWhatRanBeforeThereWereReleases(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.dropIn(blueUnit, "[Service]\nWorkingDirectory=/opt/legacy/backend\n")
	p.Run("rm", deployRoot+"/backend/blue")
	revision := p.repo.commit("one", good)
	p.ctl("deploy", "--no-bake", "--cut-streams").wants(0)
	p.isAnsweredBy(revision)
	p.Run("systemctl", "stop", blueUnit)
	p.ctl("rollback", "--yes").wants(0, "runs what was there before the first release")
	p.isAnsweredBy(byHand)
}

func (p *production) isAnsweredBy(revision string) {
	p.t.Helper()
	p.Eventually("users get "+revision, func() error {
		if _, got, err := p.whoAnswers(); err != nil || got != revision {
			return fmt.Errorf("%q answers: %v", got, err)
		}
		return nil
	})
}
