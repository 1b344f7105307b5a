// Package audit proves or refutes from Git alone that a repository's record of rotations is what the agent wrote.
//
// A status commit is one that changes something below the status path. Each is signed by the agent, and a signature
// covers the hashes of the commit's parents and of its files. A good signature therefore speaks for the whole history
// before it: a commit that was amended, dropped, reordered or rebased gives all later ones other hashes, and their
// signatures go. What is left to look at, from the first commit to the tip, is what the signatures do not say:
//
//   - that nobody else wrote below the status path, not even in a merge: every commit has the statuses of the last
//     status commit behind it, or is one itself, and the status commits are one line (verify.go, writer.go);
//   - that the agent's own writes go forward only: what has ended stays (transition.go);
//   - that a rotation was asked for: the commit that a status names as its source is there and holds that very request,
//     by its rotation id (request.go).
//
// What was cut off the end of a history cannot be seen in what is left. A report names its tip, and a later audit can
// demand that this commit is still there (Options.Contains).
//
// [Verify] stops at the first [Break]. The judgement is pure: the history comes as bytes, by hash, through [Objects].
// [Tell] reads the same history and judges nothing: it is the story of one database.
package audit
