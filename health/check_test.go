package health_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/health"

	"github.com/google/go-cmp/cmp"
)

func TestUnsetFieldsGetTheDefaults(t *testing.T) {
	want := health.Check{
		Method: "GET", Path: "/", Protocol: health.HTTP1,
		Interval: 2 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3,
		Status: []health.StatusRange{{Low: 200, High: 299}},
	}
	if diff := cmp.Diff(want, health.Check{}.WithDefaults()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, want.WithDefaults()); diff != "" {
		t.Errorf("set fields were changed (-want +got):\n%s", diff)
	}
	if err := (health.Check{}).Validate(); err != nil {
		t.Errorf("the defaults are invalid: %v", err)
	}
}

func TestValidateNamesTheFieldAndTheProblem(t *testing.T) {
	tests := map[string]struct {
		check health.Check
		want  string // empty: valid
	}{
		"a path with a query":        {health.Check{Path: "/up?deep=1&x=a%20b"}, ""},
		"a path of two slashes":      {health.Check{Path: "//up"}, ""},
		"a host with a port":         {health.Check{Host: "shop.example.com:8080"}, ""},
		"a path without slash":       {health.Check{Path: "up"}, `path "up" must begin with a slash and be a valid path`},
		"a full URL as path":         {health.Check{Path: "http://a/up"}, `path "http://a/up" must begin with a slash and be a valid path`},
		"a path with a space":        {health.Check{Path: "/u p"}, `path "/u p" must begin with a slash and be a valid path`},
		"a path with a line break":   {health.Check{Path: "/up\r\nX: y"}, `path "/up\r\nX: y" must begin with a slash and be a valid path`},
		"a path with a bad escape":   {health.Check{Path: "/%zz"}, `path "/%zz" must begin with a slash and be a valid path`},
		"a lower case method":        {health.Check{Method: "get"}, `method "get" is not an upper case method`},
		"a method with a space":      {health.Check{Method: "G T"}, `method "G T" is not an upper case method`},
		"CONNECT":                    {health.Check{Method: "CONNECT"}, `method CONNECT asks for a tunnel, not for health`},
		"a host with a path":         {health.Check{Host: "a/b"}, `host "a/b" is not a host`},
		"an unknown protocol":        {health.Check{Protocol: "spdy"}, `protocol "spdy" is not http1 or h2c`},
		"an interval of nothing":     {health.Check{Interval: time.Millisecond}, `interval 1ms is less than 10ms`},
		"a negative timeout":         {health.Check{Timeout: -1}, `timeout -1ns is not positive`},
		"a negative rise":            {health.Check{Rise: -1}, `rise -1 is not positive`},
		"a negative fall":            {health.Check{Fall: -2}, `fall -2 is not positive`},
		"a body of HEAD":             {health.Check{Method: "HEAD", Body: "ok"}, `body cannot be expected of HEAD`},
		"a status of 1xx":            {health.Check{Status: []health.StatusRange{{Low: 100, High: 200}}}, `status 100-200 is not within 200 to 599`},
		"a status range backwards":   {health.Check{Status: []health.StatusRange{{Low: 299, High: 200}}}, `status 299-200 is not within 200 to 599`},
		"a field name with a colon":  {health.Check{Header: http.Header{"A:": {"x"}}}, `header "A:" is not a field name`},
		"a field value over 2 lines": {health.Check{Header: http.Header{"A": {"x\ny"}}}, `header A: "x\ny" is not a field value`},
		"Host as a field":            {health.Check{Header: http.Header{"host": {"x"}}}, `header Host has a field of its own`},
		"two problems":               {health.Check{Rise: -1, Fall: -1}, "rise -1 is not positive\nfall -1 is not positive"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tt.check.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Validate() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStatusRangesAreReadAsTheyArePrinted(t *testing.T) {
	for _, text := range []string{"200", "204", "200-299", "200-599", "301-302"} {
		r, err := health.ParseStatus(text)
		if err != nil || r.String() != text {
			t.Errorf("ParseStatus(%q) = %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "-", "ok", "2xx", "99", "199", "600", "299-200", "200-", "-299", "200-299-300", "0200x"} {
		if r, err := health.ParseStatus(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("ParseStatus(%q) = %v, %v; want an error that quotes it", text, r, err)
		}
	}
}
