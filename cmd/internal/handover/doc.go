// Package handover lets a process leave its work to another that it started: the
// mechanics, not the work. A [Conn] carries messages and descriptors between the
// two; [Start] runs the successor, which finds its end with [Inherit].
//
// # Promise
//
//   - A message arrives whole, with its descriptors, or not at all; when either
//     process ends, however it does, the other sees the end of the connection.
//   - Descriptors are the kernel's: a socket that was sent stays open whoever of
//     the two ends, and what its queue holds is lost with neither.
//   - What the successor says on its standard error until [KeepStderr] is kept
//     for who started it, and passed on to the old one's.
//
// Nothing here knows who of the two is in charge: that is the caller's protocol.
package handover
