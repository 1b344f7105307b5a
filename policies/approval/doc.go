// Package approval decides whether a change has the word of those whose word it takes.
//
// What is judged is content: of each file that a request rests on, exactly the bytes that the branch holds now. Whatever
// changes them, a later push as well as a revert that brings them back, is another change, which needs its own approval.
// For each file one or more rules have to hold, all of them: what the policy asks for, and the minimum that whoever
// installed gitrota has set. By the mode of a rule,
//
//   - Merge: the content is on the branch. Who may push there, the Git server decides.
//   - Signatures: Count different allowed signers have signed a commit that added the content, that merged it, or that
//     names it in a trailer "Approves: path@blob". The author's own counts only with AuthorCounts. Who the author is,
//     only a signature tells: without one on the commit that added the content, any of the signers may be the author,
//     and one more is needed.
//   - Reviews: a pull request was merged to the branch, it brought exactly this content, and Count different people
//     approve of the head that was merged. Its author and accounts of bots do not count, nor do reviews of an older
//     head or such as were dismissed. Of one person the last word counts, and whoever asks for changes blocks. Where a
//     bot proposed it, whoever has pushed to its branch may be the author, and one more is needed; not so for what a
//     schedule asks for.
//
// Everything here is a pure function: signatures were verified before, and the forge was asked.
package approval
