package deploy

import (
	"strings"
	"testing"
)

func TestAPlanNeedsARepositoryAsTheDeployDoes(t *testing.T) {
	_, err := Plan(t.Context(), Options{}, Request{Source: Source{Ref: "main"}})
	if err == nil || !strings.Contains(err.Error(), "deploy.repository is not set") {
		t.Errorf("plan = %v, want it to miss the repository", err)
	}
}
