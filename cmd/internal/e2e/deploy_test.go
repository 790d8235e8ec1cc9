package e2e

import (
	"testing"
)

func TestDeployCases(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.check("before the first deploy")
	p.users()
	defer p.table.print(t)

	one := p.repo.commit("one", good)
	p.try("the first deploy", 0, func() *command {
		c := p.ctl("deploy", "--no-bake", "--cut-streams", "--verbose")
		t.Log(c.said())
		p.moved(one)
		return c
	})
	t.Log(p.usersLeave().Summary())
}
