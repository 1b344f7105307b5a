// Package reconcile serves rotation requests: it gathers what is, decides what is next, acts, and records.
//
// A [Controller] reads requests from a repository and judges them by the policies in force and the guardrails: whose word
// they have (approvals.go, policies.go), and when they may begin (hold.go). It asks for what is due by a schedule
// (scheduled.go, proposals.go), queues requests by database and writes their statuses back.
//
// For each request an [Engine] rotates one login on every replica. Before every step it reads the world anew (gather.go),
// a pure function says what is next (decide.go), and one idempotent step is taken (apply.go, publish.go, restart.go,
// verify.go). What a killed run leaves behind is therefore where the next one begins, and needs no memory of its own.
// The states follow from the keeper, the auth Secret and the servers alone:
//
//	    keeper.next   servers accept   auth Secret    next step            a crash right before it, right after it,
//	                                                                       or with its answer lost
//	+-> none          live             live           preflight, connect   nothing has happened
//	|      | stage: next into the keeper, one conditional write            before: nothing; after: next is found and used
//	|      v
//	|   next          live             live           pause, apply         each server is asked which one it accepts
//	|      | ALTER LOGIN, secondaries first, the primary last              a session that stayed open tells; after a
//	|      v                                                               crash, a login
//	|   next          some next        live           prove, apply others  as above; if it cannot go on: see below
//	|      v
//	|   next          next             live           promote              the servers are asked, promotion goes on
//	|      | publish: auth Secret <- next, .prev <- live, one write        before: as above; after: as below
//	|      v
//	|   next          next             next           list, evict, await   pods are compared by UID with the list in
//	|      | pods with the old environment, secondaries first, ready or    the keeper; consumers by the rotation id in
//	|      v not: their probe may be a login with the old password         their pod template
//	|   next          next             next           verify, resume,      a fresh login proves again
//	|      |                                          consumers
//	|      | of a pair of logins: grace; retired into the keeper, ALTER    the retired password is asked about like next
//	|      v
//	+-- settle: live <- next, previous <- live, the outcome is remembered  before: settle again; after: it has ended
//
// When a rotation cannot go on, what the replicas say decides (conclude.go). None accepts next: it is dropped. All do and
// it is published: it becomes live. Some do and clients still read live: the way back, unless it is a pair, of which
// nobody uses the login that was changed:
//
//	keeper.failure    servers accept   auth Secret    next step            a crash
//	cause             some next        live           fence                a conditional write of the auth Secret, so that
//	                                                                       no other agent publishes what is rolled back
//	cause             some next        live, fenced   revert               as apply
//	cause             live             live, fenced   resume, discard      as settle
//
// Anything else stays in the keeper, and the status says RecoveryRequired. The next request begins by bringing that to
// its end. Between apply and the end, KubeDB is kept away by the condition Paused, which every way out removes again.
//
// Where a policy asks for it, the write that settles also puts digests of what was live and of what is live now into the
// keeper's history: a crash before it has neither made the new password the live one nor noted it, a crash after it both.
//
// What has ended stays in the keeper's journal (journal.go) until Git has it, and is found there by the next process
// (recover.go), before it begins anything. An end is in the keeper before anybody is told of it, also that of a request
// that never began, and is never rewritten there or in Git (ends.go). Only where the keeper of a database that is gone is
// not known, or where none can be written, is Git told alone; who has read that does not begin.
//
// The API server is no judge in the moment after its start, when it forbids everything: what it forbids is waited for, as
// it is when it is away, and is a verdict when that lasts (refusals.go).
//
// Two agents with one request find the same staged value in the keeper. Each write to the cluster is conditional on what
// was read, and each ALTER on the login's hash: an agent that was stopped anywhere and goes on later changes nothing that
// has moved on without it. What is left where a server shows no hashes, change.go says.
//
// What was published is published again, before anything is waited for, when somebody has deleted or overwritten it. A step
// that succeeds and leaves the world as it was is not repeated without end (progress.go).
//
// The keeper is never dropped on a guess: see [Keeper]. What a rotation costs a login in failed attempts: none as long
// as a session is open, for PWDCOMPARE tells; one when a run was killed between the change and the promotion. What a
// server has acknowledged is proven by a login before clients read it. At rest, [Engine.Patrol] looks whether the auth
// Secret still says what the servers accept, and now and then asks them.
package reconcile
