// Package schedule decides when a database's credential is to be rotated and when its rotation may begin.
//
// # Due dates
//
// A [Rule] gives a database a row of dates. With every they are the last rotation plus once, twice, three times that
// duration; with cron they are the dates of the expression in its time zone that come after the last rotation. A database
// that was never rotated counts from when it began. A day is 24 hours, so that every: 30d is the same in each time zone.
//
// Cron goes by the clock on the wall. A date in an hour that the clock skips comes as much later as the clock was put
// forward (02:30 becomes 03:30), and a date in an hour that the clock shows twice comes at the first of them only.
//
// A date is drawn: it becomes up to [Rule].Jitter later, by a digest of the database and the date. So a fleet spreads
// over that time, and whoever evaluates again, at another time or place, draws the same. A drawn date never reaches the
// next date. A database is due from the first drawn date on, until it was rotated.
//
// Dates that were missed, because no window was open or no agent ran, are made up for once: the newest date that has
// come stands for all of them and names the request. A rotation that failed moves nothing, so the next date
// tries again, under a name of its own. A date that people declined is over, and the one after it is the next.
//
// # Openings
//
// [Maintenance] says when rotations may begin. It is open while no freeze is on and, if it has windows, one of them is
// open. A window goes by the clock on the wall, too: it is open while the clock there shows a time in it, on a day of
// the window or, of a window over midnight, on the morning after. So what lies in a skipped hour does not open, a window
// that begins in a skipped hour opens when the clock has been put forward, and what lies in a repeated hour opens twice.
// A rotation that has begun is not stopped when the window closes.
//
// # Verdicts
//
// [Due] takes plain data for one database and returns a [Verdict]: a [Reason] for programs and a message for people,
// both of which stay the same until something happens. [Evaluator] does the same for many databases and reads each
// expression and time zone once.
//
// Time zones come from the machine if it has them, and else from the program.
package schedule

import _ "time/tzdata" // images without time zones are common, and a schedule must not depend on the image
