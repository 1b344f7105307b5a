package schedule

// Reason says in one word why a verdict is as it is. Reasons are part of the API.
type Reason string

// What is the matter with a database.
const (
	DueNow       Reason = "DueNow"       // a date has come, and its rotation may begin
	NotDue       Reason = "NotDue"       // the next date is still to come
	NeverRotated Reason = "NeverRotated" // nothing is known from which dates could be counted
	Invalid      Reason = "Invalid"      // the rule or the maintenance is wrong; the message is what Check says
)

// What is the matter with a maintenance, and so with a database that is due.
const (
	MayBegin         Reason = "MayBegin"         // rotations may begin
	WaitingForWindow Reason = "WaitingForWindow" // no window is open
	Frozen           Reason = "Frozen"           // a freeze is on
	NeverOpens       Reason = "NeverOpens"       // the freezes leave no time in which a window is open, as far as LookAhead
)
