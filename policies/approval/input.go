package approval

import "time"

// Input is what a verdict rests on.
type Input struct {
	Files []File
	Bots  []string // accounts whose reviews never count
}

// File is a file that has to be approved, and what is known of how it came to be as it is.
type File struct {
	Path  string
	Blob  string // Git's hash of its content; empty: it was removed
	Rules []Rule // all of them have to hold; none is Merge

	Added     Commit   // brought the content
	Landed    Commit   // with which it came to the branch: a merge, or Added
	Approving []Commit // later ones that name the content in a trailer

	PullRequests []PullRequest // merged to the branch, by which the content may have come
	Scheduled    bool          // it asks for what a schedule in force asks for, and nothing else
	Unasked      string        // why the forge could not be asked; empty: it was, or did not have to be
}

// Commit is a commit, and who has signed it.
type Commit struct {
	Hash      string
	Author    string // "Name <address>"
	Address   string // the author's
	Committer string // "Name <address>"
	Principal string // of the allowed signer whose valid signature it has; empty: it has none
	Key       string // with which it was signed
	Problem   string // why its signature does not count; empty: it has none, or it does
}

// State is what a review says.
type State string

const (
	Approved         State = "Approved"
	ChangesRequested State = "ChangesRequested"
	Commented        State = "Commented"
	Dismissed        State = "Dismissed"
)

// Review is what somebody said of a pull request.
type Review struct {
	Account string
	State   State
	Commit  string // the head that it is about; empty: the forge does not tell
	Link    string
	At      time.Time
}

// PullRequest is one that was merged to the branch.
type PullRequest struct {
	Number   int
	Link     string
	Author   string // an account
	Head     string // the commit that was merged
	Blob     string // of the file there; empty: it is not there
	MergedBy string // an account; empty: the forge does not tell
	MergedAs string // the commit on the branch
	Reviews  []Review
}

// Verdict says whether a change is approved, and on whose word.
type Verdict struct {
	Approved bool
	Reason   string   // one of the constants
	Message  string   // for people: what each file has, or lacks
	By       []string // every approval that counts: who, and where it is to be found
}

// The reasons of verdicts: of those that approve, and of those that wait.
const (
	ReasonMerged   = "Merged"   // it is on the branch, and nothing more is asked for
	ReasonSigned   = "Signed"   // enough allowed signers have signed
	ReasonReviewed = "Reviewed" // enough people have reviewed the pull request

	ReasonSignaturesMissing = "SignaturesMissing" // too few allowed signers have signed
	ReasonReviewsMissing    = "ReviewsMissing"    // the pull request was merged with too few reviews that count
	ReasonChangesRequested  = "ChangesRequested"  // a reviewer asks for changes
	ReasonNoPullRequest     = "NoPullRequest"     // the content came to the branch without a pull request
	ReasonForgeUnavailable  = "ForgeUnavailable"  // the forge could not be asked
)
