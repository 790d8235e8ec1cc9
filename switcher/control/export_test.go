package control

import "time"

// SetPatience shortens the server's waits.
func (s *Server) SetPatience(head, body, beat time.Duration) {
	s.patience.head, s.patience.body, s.patience.beat = head, body, beat
}

// SetAnswerTime shortens the client's wait.
func (c *Client) SetAnswerTime(d time.Duration) { c.answerTime = d }

// AnsweredRoutes are the routes that the server has an answer for.
func (s *Server) AnsweredRoutes() []Route {
	var routes []Route
	for r := range s.answers() {
		routes = append(routes, r)
	}
	return routes
}

// Sentinels are those of the table of failures.
func Sentinels() []error {
	var all []error
	for _, f := range failures() {
		all = append(all, f.sentinel)
	}
	return all
}

// The limits that tests reach.
const (
	MaxAdminConns = maxAdminConns
	MaxSocketPath = maxSocketPath
	MaxBody       = maxBody
)
