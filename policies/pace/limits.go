package pace

// AfterFailure is what a failed rotation means for the next one of the same database.
type AfterFailure string

const (
	Continue AfterFailure = "Continue" // a new request runs
	Hold     AfterFailure = "Hold"     // it waits until somebody has acknowledged the failure
)

// Acknowledged is the annotation of a failed request that says why the next one may run. Its value is for people.
const Acknowledged = "gitrota.dev/acknowledged"

// Limits bound how many rotations run at once. 0 is no limit.
type Limits struct {
	MaxConcurrent   int          // of the databases that the policy is about
	MaxPerNamespace int          // of those in one namespace
	AfterFailure    AfterFailure // empty: Continue
}

// Policy is whose limits count for a database. The zero value is none.
type Policy struct {
	Name   string
	Where  string // it is written, for people: path:line; together with Name it tells policies apart
	Limits Limits
}
