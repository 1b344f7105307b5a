package approval

// Mode is what counts as somebody's word for a rotation.
type Mode string

const (
	Merge      Mode = "Merge"      // being on the branch
	Signatures Mode = "Signatures" // signed commits that added, merged or approved exactly this content
	Reviews    Mode = "Reviews"    // approving reviews of the pull request that brought it
)

// Rule says what it takes for a change to be approved. The zero value is Merge.
type Rule struct {
	Mode         Mode
	Count        int      // how many people, 1 or more; of Merge 0
	AuthorCounts bool     // of Signatures: the author's own is one of them
	By           []string // principals or accounts that may approve; empty: every allowed signer, or every reviewer
}
