package tsql

import "fmt"

// An Error is an error message of SQL Server.
type Error struct {
	Number int32
	State  uint8
	Class  uint8 // its severity
	Text   string
	Line   int // of the batch, from 1; 0 where it is not known yet
}

func (e *Error) Error() string {
	return fmt.Sprintf("Msg %d, Level %d, State %d, Line %d: %s", e.Number, e.Class, e.State, e.Line, e.Text)
}

// Errorf makes an Error of state 1.
func Errorf(number int32, class uint8, format string, args ...any) *Error {
	return &Error{Number: number, State: 1, Class: class, Text: fmt.Sprintf(format, args...)}
}

// at sets the line of e.
func (e *Error) at(line int) *Error {
	e.Line = line
	return e
}
