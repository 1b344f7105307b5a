// Package fault classifies what goes wrong during a rotation.
//
// The one who meets an error knows best what it means, so the adapters decide the class where the error arises and the
// engine only acts on it.
package fault

import (
	"errors"
	"fmt"
)

// Class says what to do about an error.
type Class int

const (
	// Retry is a disturbance that may pass by itself, such as a broken connection: try again, a bounded number of times.
	Retry Class = iota
	// Wait is a state that will pass: a server that starts, an API that throttles, a disruption budget. It is waited
	// for until the step's timeout and does not count as a try.
	Wait
	// Refuse is a no to this very request, such as a password that the policy refuses. Trying again changes nothing.
	Refuse
	// Stop is a state in which every further try does harm, such as a locked login or a refused credential.
	Stop
)

// String names the class in logs and metrics.
func (c Class) String() string {
	return [...]string{"retry", "wait", "refuse", "stop"}[c]
}

// Error is a classified error. Reason is the reason of the condition that reports it (CamelCase, documented where it is
// declared), Message says what and why, Hint what a person can do; none of them ever holds a credential.
type Error struct {
	Class   Class
	Reason  string
	Message string
	Hint    string // may be empty
	Err     error  // may be nil; its text is not shown to users, Message is
}

// Error returns the message and, after a semicolon, the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

func (e *Error) Unwrap() error { return e.Err }

// New makes a classified error without a cause.
func New(class Class, reason, hint, format string, args ...any) *Error {
	return &Error{Class: class, Reason: reason, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// As returns the classified error in err's chain. An error that nobody classified is Retry with reason "Error", since
// an unknown disturbance is more often a passing one, and the number of tries is bounded.
func As(err error) *Error {
	var classified *Error
	if errors.As(err, &classified) {
		return classified
	}
	return &Error{Class: Retry, Reason: "Error", Message: err.Error(), Err: err}
}
