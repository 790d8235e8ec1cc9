// Package notify tells a webhook how a deploy ended, in JSON as Slack takes it.
//
// The webhook's address is a secret: whoever knows it can write to the channel.
// It shows in no error, whatever went wrong.
package notify
