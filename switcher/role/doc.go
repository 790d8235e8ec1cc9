// Package role tells the two slots of a service which of them is active, so
// that what must run once, cron jobs and queue workers, does not run in both
// while the old slot is kept warm.
//
// # Promise
//
//   - The wanted role is read from the switcher's state each time; a message
//     that was lost is made good by the next look, so nothing depends on an
//     event. A slot is told when its role changes, when its process is a new
//     one, and every now and then; one that does not take its role is told again
//     until it does.
//   - At a switch the slot that becomes standby is told first. The one that
//     becomes active is told once the other has yielded: taken its role, or been
//     found dead. A slot that neither answers nor is dead delays the other by one
//     timeout and no more.
//   - A dead process is told nothing. What runs beside it ([Options].Beside) is
//     seen to all the same.
//   - Nobody waits for it: a swap is over before the first slot is told, and
//     requests are none of its business.
//
// An order carries the generation of the state it comes from. A process keeps
// the highest it saw and refuses a lower one, because a request that was given
// up may still arrive after a later one.
//
// # Who starts and stops what
//
// [New] starts no goroutine. [Keeper.Keep] blocks, once for each slot; the caller
// writes go. All other methods may be called by several goroutines at once.
package role
