package audit

import (
	"fmt"
	"strings"
)

// Break is where a history does not hold: a commit after which the statuses are not the agent's record any more.
type Break struct {
	Reason  Reason `json:"reason"`
	Commit  string `json:"commit"`
	Author  string `json:"author,omitempty"`
	File    string `json:"file,omitempty"` // empty: it is about the commit as a whole
	Message string `json:"message"`
}

func (b *Break) Error() string {
	parts := []string{string(b.Reason), "commit " + b.Commit}
	if b.File != "" {
		parts = append(parts, b.File)
	}
	return strings.Join(append(parts, b.Message), ": ")
}

// Reason names a kind of break.
type Reason string

// Who wrote.
const (
	// ForeignWriter: somebody else wrote below the status path; a merge counts as such, too.
	ForeignWriter Reason = "ForeignWriter"
	// UnsignedStatus: a commit says that it is the agent's, and is not signed.
	UnsignedStatus Reason = "UnsignedStatus"
	// UntrustedKey: the signature is good, and made with a key that is not listed.
	UntrustedKey Reason = "UntrustedKey"
	// KeyNotValidThen: the key is listed, and was not valid at the commit's time.
	KeyNotValidThen Reason = "KeyNotValidThen"
	// BadSignature: the commit is not the one that was signed.
	BadSignature Reason = "BadSignature"
	// UnsupportedSignature: the signature is of a kind that cannot be checked here.
	UnsupportedSignature Reason = "UnsupportedSignature"
	// ForeignFiles: a status commit changes files that are not below the status path.
	ForeignFiles Reason = "ForeignFiles"
)

// What became of the statuses.
const (
	// StatusDeleted: a status is gone.
	StatusDeleted Reason = "StatusDeleted"
	// StatusRewritten: a status of a request that had ended says something else.
	StatusRewritten Reason = "StatusRewritten"
	// StatusWentBackwards: a request that had ended has not any more, or a merge took the older statuses.
	StatusWentBackwards Reason = "StatusWentBackwards"
	// StatusForked: a merge brings together statuses that were written without knowing of each other.
	StatusForked Reason = "StatusForked"
	// StatusUnreadable: a file is not the status that its place says.
	StatusUnreadable Reason = "StatusUnreadable"
	// TimeWentBackwards: a commit or a condition is older than what it follows, or newer than the commit that holds it.
	TimeWentBackwards Reason = "TimeWentBackwards"
	// TrailersDiffer: a commit's trailers say something else than its files.
	TrailersDiffer Reason = "TrailersDiffer"
	// Malformed: an object is none that git writes, so that two readers may see two things in it.
	Malformed Reason = "Malformed"
	// HistoryTruncated: a commit that was there is not in the history any more.
	HistoryTruncated Reason = "HistoryTruncated"
)

// What a rotation rests on.
const (
	// SourceMissing: the commit that is said to have brought the request is not in the history, or holds no such request.
	SourceMissing Reason = "SourceMissing"
	// RequestChanged: what ran is not what the source commit asked for.
	RequestChanged Reason = "RequestChanged"
	// UntrustedRequest: the commit that brought the request is not signed by somebody who may ask.
	UntrustedRequest Reason = "UntrustedRequest"
	// ApprovalMissing: an approval that is named is not there, or not by whom it says.
	ApprovalMissing Reason = "ApprovalMissing"
	// RotationRepeated: one rotation id has succeeded twice.
	RotationRepeated Reason = "RotationRepeated"
)

// malformedError is an object that git does not write.
type malformedError string

func (m malformedError) Error() string { return string(m) }

func malformed(format string, args ...any) error { return malformedError(fmt.Sprintf(format, args...)) }
