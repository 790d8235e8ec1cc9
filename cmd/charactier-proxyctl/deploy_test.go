package main

import (
	"errors"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

func TestWhereTheTrafficIsAfterADeploy(t *testing.T) {
	moves := []switcher.Move{{Service: "backend", From: switcher.Blue, To: switcher.Green}}
	for _, test := range []struct {
		name   string
		result deploy.Result
		err    error
		want   string
	}{
		{"done", deploy.Result{Outcome: switcher.Done}, nil, "backend is on green"},
		{"undone as was wanted", deploy.Result{Outcome: switcher.Aborted}, nil, "backend stays on blue"},
		{"failed before the switch", deploy.Result{Outcome: switcher.Failed}, errors.New("no such file"), "backend stays on blue"},
		{"returned", deploy.Result{Outcome: switcher.Failed, Returned: true}, deploy.ErrReturned, "backend was on green and is back on blue"},
		{"left to the daemon", deploy.Result{}, deploy.ErrDetached, "backend is on green"},
		{"done, and down", deploy.Result{Outcome: switcher.Failed}, deploy.ErrDown, "backend is on green"},
		{"nobody knows", deploy.Result{}, deploy.ErrStuck, ""},
	} {
		test.result.Moves = moves
		if got := whereNow(test.result, test.err); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
