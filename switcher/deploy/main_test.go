package deploy

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// hookVariable has the test binary run a hook instead of tests, when it is
// started by one of them.
const hookVariable = "DEPLOY_TEST_HOOK"

func TestMain(m *testing.M) {
	if command := os.Getenv(hookVariable); command != "" {
		d := &deploy{opts: Options{HookTimeout: time.Hour}, story: newStory("")}
		fmt.Println(d.runHook(context.Background(), "start", command))
		return
	}
	goleak.VerifyTestMain(m)
}
