package pace

// AfterFailure is what a failed rotation means for the next one of the same database.
type AfterFailure string

const (
	Continue AfterFailure = "Continue" // a new request runs
	Hold     AfterFailure = "Hold"     // it waits until somebody has acknowledged the failure
)

// Limits bound how many rotations run at once. 0 is no limit.
type Limits struct {
	MaxConcurrent   int          // of the databases that the policy is about
	MaxPerNamespace int          // of those in one namespace
	AfterFailure    AfterFailure // empty: Continue
}
