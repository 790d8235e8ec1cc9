// Package drive is the load that wrk cannot give. [Paced] sends requests at a
// fixed rate whatever becomes of them and counts each latency from the instant
// at which the request was due, so that a slow answer is charged for the
// requests it kept waiting (no coordinated omission). [WebSocket] sends messages
// to an echo. [Idle] opens connections, uses each once and keeps them. It is to
// run in a process of its own, whose CPU is nobody's.
package drive
