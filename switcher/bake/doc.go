// Package bake compares a newly active slot with what the one before it did, and
// says when the traffic has to go back. It does no I/O and starts no goroutine:
// the caller counts, looks now and then, and acts.
//
// # What is compared
//
//   - The share of requests that failed: the slot's own answers 5xx and what the
//     slot is to blame for on the way to it, such as a refused connect. What a
//     client did wrong is in no count.
//   - How many requests took longer than the 95th percentile of before may have
//     become. More than 5 % of them mean that it has become longer.
//
// # How
//
// Each is a sequential test: with every look the odds are worked out of what was
// seen if the slot is worse than allowed, against it being just as bad as is
// allowed. The traffic goes back once they are [odds] to one. Such odds may be
// looked at as often as one likes: by Ville's inequality the chance that they
// ever get there for a slot that is no worse than allowed is one in that many.
//
// That alone would return a release for a growth that is certain and tiny, or
// for a burst of failures with one cause. So besides, the share must have grown
// by more than the plan allows, in several stretches of time; and failures that
// come in bursts weigh less, by as much as they are uneven.
//
// # When the time is over
//
// A burst is a reason to wait and none to pass. At the end the stretches are not
// asked for any more: what is certain with the bursts weighed less has failed,
// unless the newest samples are as certainly better than those before them. It
// passes if there are plenty of these, ten good ones for each failure and at
// least as many as a verdict needs: that was a cold start. All else that has odds
// of [doubt] to one against the slot is inconclusive.
//
// # Low traffic
//
// A verdict needs as many samples as the plan says. Where users send fewer, the
// daemon's own probes count too. They are judged apart from the requests, so
// that probes that succeed neither hide requests that fail nor say that these
// have ended. Where users sent enough before the swap and a tenth of that since,
// probes are no verdict either: the slot was not tried.
package bake
