package health

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Protocol is the language that a probe speaks.
type Protocol string

const (
	// HTTP1 is HTTP/1.1 (RFC 9112).
	HTTP1 Protocol = "http1"
	// H2C is HTTP/2 with prior knowledge over cleartext (RFC 9113, section 3.3).
	H2C Protocol = "h2c"
)

// Defaults of [Check]; DefaultStatus is every 2xx.
const (
	DefaultMethod   = http.MethodGet
	DefaultPath     = "/"
	DefaultInterval = 2 * time.Second
	DefaultTimeout  = 2 * time.Second
	DefaultRise     = 2
	DefaultFall     = 3
)

// minInterval keeps a typing error from turning a check into load.
const minInterval = 10 * time.Millisecond

// Check says how an address is probed and what counts as healthy. The zero
// value of each field means its default. A Check is a plain value; nobody
// writes to one after it was handed over.
type Check struct {
	// Method of the request, upper case.
	Method string
	// Path of the request with its query, as it is sent: "/up?deep=1".
	Path string
	// Host is the Host field; empty means the address, or "localhost" for a unix
	// socket.
	Host string
	// Header holds further fields. User-Agent may be replaced here.
	Header http.Header
	// Protocol is what the address speaks; empty means HTTP1.
	Protocol Protocol

	// Interval is the time from the start of one probe to the start of the next
	// while healthy; it is shorter otherwise, see [Watcher.Watch].
	Interval time.Duration
	// Timeout bounds a whole probe, from connecting to the last byte read.
	Timeout time.Duration
	// Rise and Fall are how many successes or failures in a row change the state.
	Rise, Fall int

	// Status lists the expected codes; empty means 200 to 299.
	Status []StatusRange
	// Body is a text that the first 64 KiB of the answer's body must contain.
	Body string
}

// WithDefaults returns c with every unset field filled in.
func (c Check) WithDefaults() Check {
	c.Method = orDefault(c.Method, DefaultMethod)
	c.Path = orDefault(c.Path, DefaultPath)
	c.Protocol = orDefault(c.Protocol, HTTP1)
	c.Interval = orDefault(c.Interval, DefaultInterval)
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.Rise = orDefault(c.Rise, DefaultRise)
	c.Fall = orDefault(c.Fall, DefaultFall)
	if len(c.Status) == 0 {
		c.Status = []StatusRange{{200, 299}}
	}
	return c
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// FieldError says what is wrong with one field of a [Check].
type FieldError struct {
	Field   string // the name of the field: "Path"
	Problem string // "must begin with a slash"
}

func (e *FieldError) Error() string { return strings.ToLower(e.Field) + " " + e.Problem }

// Validate reports all problems at once, each as a [*FieldError] within an
// [errors.Join].
func (c Check) Validate() error {
	c = c.WithDefaults()
	var problems []error
	require := func(ok bool, field, format string, args ...any) {
		if !ok {
			problems = append(problems, &FieldError{field, fmt.Sprintf(format, args...)})
		}
	}
	require(isToken(c.Method) && strings.ToUpper(c.Method) == c.Method, "Method", "%q is not an upper case method", c.Method)
	require(c.Method != http.MethodConnect, "Method", "CONNECT asks for a tunnel, not for health")
	require(validPath(c.Path), "Path", "%q must begin with a slash and be a valid path", c.Path)
	require(validHost(c.Host), "Host", "%q is not a host", c.Host)
	require(c.Protocol == HTTP1 || c.Protocol == H2C, "Protocol", "%q is not %s or %s", c.Protocol, HTTP1, H2C)
	require(c.Interval >= minInterval, "Interval", "%v is less than %v", c.Interval, minInterval)
	require(c.Timeout > 0, "Timeout", "%v is not positive", c.Timeout)
	require(c.Rise > 0, "Rise", "%d is not positive", c.Rise)
	require(c.Fall > 0, "Fall", "%d is not positive", c.Fall)
	require(c.Body == "" || c.Method != http.MethodHead, "Body", "cannot be expected of %s", c.Method)
	for _, r := range c.Status {
		require(r.valid(), "Status", "%v is not within 200 to 599", r)
	}
	for name, values := range c.Header {
		require(isToken(name), "Header", "%q is not a field name", name)
		require(!strings.EqualFold(name, "Host"), "Header", "Host has a field of its own")
		for _, v := range values {
			require(isFieldValue(v), "Header", "%s: %q is not a field value", name, v)
		}
	}
	return errors.Join(problems...)
}

func (c Check) expects(status int) bool {
	return slices.ContainsFunc(c.Status, func(r StatusRange) bool { return r.Low <= status && status <= r.High })
}

// StatusRange is a range of status codes, both ends included.
type StatusRange struct{ Low, High int }

// ParseStatus reads "204" or "200-299".
func ParseStatus(text string) (StatusRange, error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	var r StatusRange
	var errLow, errHigh error
	r.Low, errLow = strconv.Atoi(low)
	r.High, errHigh = strconv.Atoi(high)
	if errLow != nil || errHigh != nil || !r.valid() {
		return StatusRange{}, fmt.Errorf("%q is not a status (204) or a range (200-299) within 200 to 599", text)
	}
	return r, nil
}

// String is what [ParseStatus] reads.
func (r StatusRange) String() string {
	if r.Low == r.High {
		return strconv.Itoa(r.Low)
	}
	return fmt.Sprintf("%d-%d", r.Low, r.High)
}

// valid leaves out 1xx: they are no final answer, so no probe ever sees one.
func (r StatusRange) valid() bool { return 200 <= r.Low && r.Low <= r.High && r.High <= 599 }

func validPath(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " #") {
		return false
	}
	_, err := url.ParseRequestURI(path)
	return err == nil
}

func validHost(host string) bool {
	if strings.ContainsAny(host, " /?#@") {
		return false
	}
	_, err := url.Parse("http://" + host + "/")
	return err == nil
}

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		alnum := '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !alnum && !strings.ContainsRune(marks, r)
	})
}

// isFieldValue is RFC 9110, section 5.5: no control characters but the tab.
func isFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
