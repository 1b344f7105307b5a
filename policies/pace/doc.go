// Package pace decides which of the rotations that wait may begin now, so that 500 requests at once are worked off
// in a bounded number, and one namespace cannot make all others wait.
//
// A rotation that was cut off comes first, always: it has begun, its database is between two credentials, and it is never
// held. The others begin while there is room under three limits: the overall one, that of the policy which is about the
// database, and that policy's for one namespace. What runs counts under each limit that is about it, and so does what was
// cut off, even where there is no room for it.
//
// Who begins is fair: the namespace in which the fewest rotations run is next, then the one whose oldest request has
// waited longest, and in a namespace the oldest request is first; of two that came at the same time, the one whose key
// comes first in the alphabet. A rotation that a limit stops does not stop those behind it. Nothing that may begin
// is left waiting while there is room.
//
// A database whose last rotation failed is held, if its policy says so, until somebody has acknowledged that in Git.
//
// Whoever waits is told by which limit, and the message does not change until another limit is the reason: there is no
// place in the queue in it, for each change of a message becomes a commit.
package pace
