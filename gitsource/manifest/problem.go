package manifest

import (
	"cmp"
	"fmt"
	"slices"
)

// Why a document is refused. They are part of what users see: a reason is never renamed.
const (
	ReasonUnreadableFile        = "UnreadableFile"        // a link, a submodule, too large, not text
	ReasonInvalidYAML           = "InvalidYAML"           // it cannot be parsed
	ReasonDuplicateKey          = "DuplicateKey"          // a mapping has one key twice
	ReasonUnsupportedYAML       = "UnsupportedYAML"       // anchors, aliases and merge keys
	ReasonUnsupportedAPIVersion = "UnsupportedAPIVersion" // a known group in a version that is not served
	ReasonUnknownKind           = "UnknownKind"           // a known group, but no kind of it that is served
	ReasonUnknownField          = "UnknownField"          // a field that the kind does not have
	ReasonMissingField          = "MissingField"          // a field that must be there
	ReasonInvalidField          = "InvalidField"          // a value of the wrong type, or out of range
	ReasonUnsupportedType       = "UnsupportedType"       // spec.type is not RotateAuth
	ReasonUnsupportedSecretRef  = "UnsupportedSecretRef"  // secretRef points at something else than a Secret
	ReasonDuplicateName         = "DuplicateName"         // two documents of one namespace and name, and of kinds that share their names
	ReasonPlaintextSecret       = "PlaintextSecret"       // a Secret whose values are readable in Git
	ReasonEncryptedMetadata     = "EncryptedMetadata"     // a Secret whose kind or name is encrypted too
	ReasonInvalidSecret         = "InvalidSecret"         // a Secret of another type, or without what a login needs
	ReasonNotAString            = "NotAString"            // a username or password that YAML reads as a number, a date …
	ReasonUndecryptable         = "Undecryptable"         // SOPS cannot decrypt it with the keys that there are
	ReasonUnusableSecret        = "UnusableSecret"        // a request refers to a Secret that has a problem
	ReasonUnusableServer        = "UnusableServer"        // a request refers to a SQLServer that has a problem
	ReasonSharedSecret          = "SharedSecret"          // two SQLServers have one auth Secret
	ReasonUnusablePolicy        = "UnusablePolicy"        // a database is under a RotationPolicy that has a problem
	ReasonPolicyConflict        = "PolicyConflict"        // two RotationPolicies say different things of one database
	ReasonMisplacedGuardrails   = "MisplacedGuardrails"   // guardrails are given to the agent as a local file
)

// Problem is something wrong in a file. Its texts never hold a value of a Secret.
type Problem struct {
	Path string // of the file
	Line int    // 0 when the whole file is meant

	Namespace string // of the document, if known
	Name      string

	Reason  string // one of the constants above
	Message string // what is wrong, and why
	Hint    string // what to do; "" when the message says it
}

// String returns the problem as a compiler would print it.
func (p Problem) String() string {
	text := fmt.Sprintf("%s: %s: %s", p.Where(), p.Reason, p.Message)
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return text
}

// Where returns path:line.
func (p Problem) Where() string {
	if p.Line == 0 {
		return p.Path
	}
	return fmt.Sprintf("%s:%d", p.Path, p.Line)
}

func sortProblems(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return problems
}
