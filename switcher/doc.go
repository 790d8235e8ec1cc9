// Package switcher decides which slot of each service is active, and remembers
// it. It imports nothing of this module: it asks the data path, the health
// checks and the disk through the small interfaces it declares.
//
// # Words
//
// A service has two slots, blue and green; one is active, the other standby. A
// switch is the whole transaction, the swap is its atomic instant, a rollback
// is a switch back to the previous slot.
//
// # Invariants
//
//   - S1 Exactly one slot of a service is active, at every instant and after any
//     crash.
//   - S2 Disk is never behind traffic by more than the transaction in its
//     journal; at start the journal decides.
//   - S3 No switch to a slot that was not healthy in this transaction, unless
//     forced, and then it is recorded as forced.
//   - S4 One operation at a time; a second is refused as busy, naming the first.
//     Several that belong together keep others out by a [Reservation].
//   - S5 A step that fails leaves traffic where it was; every state has a way
//     out.
//
// # The transaction
//
//	lock -> await health -> save intent -> swap -> save result -> history -> unlock -> drain
//
// What a crash between two steps means at the next start:
//
//	before "save intent"    nothing was recorded: the old slot is active
//	after  "save intent"    the intent is found: the old slot is active, the
//	                        switch is recorded as interrupted
//	after  "save result"    the new slot is active; the history is mended; what
//	                        drained is not known
//
// So traffic is where it was until the result is on disk, and fully moved from
// then on. When saving the result fails, the file itself is read again and
// decides which of the two it is. The files and what is made of damaged ones
// are described at [FileStore].
//
// The history is written under the lock, because the state remembers only the
// last operation: so at most one line can be missing after a crash, and the
// next start can add it.
//
// # Bakes
//
// A switch may begin a bake: the state remembers its plan, what it compares with
// and when it ends, so that it goes on after a restart. Who watches and judges is
// the caller; [Switcher.EndBake] saves a verdict and [Switcher.Return] takes the
// traffic back, by the transaction above. Any other move ends the bake.
//
// # Who starts and stops what
//
// [New] starts no goroutine. A switch starts one that watches its drain;
// [Switcher.Close] ends and awaits them all.
package switcher
