package reconcile

import (
	"slices"
	"time"
)

// Phase is where a request stands, in KubeDB's words (ops.kubedb.com/v1alpha1, OpsRequestPhase).
type Phase string

const (
	PhasePending Phase = "Pending"
	// PhaseWaitingForApproval and PhaseApproved: a policy asks for somebody's word, and it is missing or there.
	PhaseWaitingForApproval Phase = "WaitingForApproval"
	PhaseApproved           Phase = "Approved"
	PhaseProgressing        Phase = "Progressing"
	PhaseSuccessful         Phase = "Successful"
	PhaseFailed             Phase = "Failed"
	PhaseDenied             Phase = "Denied"
	PhaseSkipped            Phase = "Skipped"
)

// Finished reports whether a request in this phase will never run (again).
func (p Phase) Finished() bool {
	switch p {
	case PhaseSuccessful, PhaseFailed, PhaseDenied, PhaseSkipped:
		return true
	}
	return false
}

// Condition is one fact about a request, in the shape of KubeDB's conditions. Conditions stand in the order in which
// they first became known.
type Condition struct {
	Type               string    `json:"type"`
	Status             string    `json:"status"` // True or False
	Reason             string    `json:"reason,omitempty"`
	Message            string    `json:"message,omitempty"`
	ObservedGeneration int64     `json:"observedGeneration"` // always 1: a request is immutable
	LastTransitionTime time.Time `json:"lastTransitionTime"`
}

// Status is a request and how far it got. It holds no credential that can be read. The zero value is a request that nobody looked at.
type Status struct {
	Request    Request     `json:"request"`
	Phase      Phase       `json:"phase"`
	Conditions []Condition `json:"conditions,omitempty"`
	// Escrow is the credential that the request has made live, encrypted; nil: there is none, or nobody keeps it. It is a
	// file of its own in Git.
	Escrow []byte `json:"escrow,omitempty"`
}

// Has reports whether the condition of that type is there and True.
func (s Status) Has(conditionType string) bool {
	for _, c := range s.Conditions {
		if c.Type == conditionType {
			return c.Status == "True"
		}
	}
	return false
}

// set adds a condition or updates the one of the same type in its place, and reports whether anything changed. A
// condition that says the same keeps its time, so that saying it again is no change.
func (s *Status) set(c Condition, now time.Time) bool {
	c.ObservedGeneration = 1
	c.LastTransitionTime = now.UTC().Truncate(time.Second)
	for i, old := range s.Conditions {
		if old.Type != c.Type {
			continue
		}
		if old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
			return false
		}
		s.Conditions[i] = c
		return true
	}
	s.Conditions = append(s.Conditions, c)
	return true
}

// drop removes a condition.
func (s *Status) drop(kind string) {
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c Condition) bool { return c.Type == kind })
}

// ended is when the request ended; the zero time if it has not.
func (s Status) ended() time.Time {
	for _, c := range s.Conditions {
		if c.Type == string(s.Phase) {
			return c.LastTransitionTime
		}
	}
	return time.Time{}
}

// clone returns a copy that shares nothing that changes.
func (s Status) clone() Status {
	c := s
	c.Conditions = append([]Condition(nil), s.Conditions...)
	return c
}
