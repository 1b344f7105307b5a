// Package reconcile serves rotation requests: it gathers what is, decides what is next, acts, and records.
//
// A [Controller] reads requests from a repository, queues them by database and writes their statuses back. For each
// request an [Engine] rotates one login. Before every step it reads the world anew (gather), a pure function says what
// is next (decide), and one idempotent step is taken (act). What a killed run leaves behind is therefore where the next
// one begins, and needs no memory of its own. The states follow from the keeper, the auth Secret and the servers alone:
//
//	    keeper.next   server accepts   auth Secret    next step            a crash right before it, right after it,
//	                                                                       or with its answer lost
//	+-> none          live             live           preflight, connect   nothing has happened
//	|      | stage: next into the keeper, one conditional write            before: nothing; after: next is found and used
//	|      v
//	|   next          live             live           pause, apply         the server is asked which one it accepts
//	|      | ALTER LOGIN, on a session of its own                          the other session tells; after a crash, a login
//	|      v
//	|   next          next             live           promote              the server is asked, promotion goes on
//	|      | publish: auth Secret <- next, .prev <- live, one write        before: as above; after: as below
//	|      v
//	|   next          next             next           list, evict, await,  pods are compared by UID with the list in
//	|      | pods with the old environment restart    verify, resume       the keeper; a fresh login proves again
//	|      v
//	+-- settle: live <- next, previous <- live, the outcome is remembered  before: settle again; after: it has ended
//
// Between apply and the end, KubeDB is kept away by the condition Paused, which every way out removes again. A rotation
// that fails is concluded by what the replicas say: none accepts next and next is dropped, all accept it and it is
// published and it becomes live, anything else stays in the keeper and the status says RecoveryRequired.
//
// The keeper is never dropped on a guess: see [Keeper]. What a rotation costs a login in failed attempts: none as long
// as a session is open, for PWDCOMPARE tells; one when a run was killed between the change and the promotion.
package reconcile
