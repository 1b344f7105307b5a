package tsql

import "github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"

// A Statement of a batch.
type Statement interface {
	// Kind names what the statement does, as "ALTER LOGIN".
	Kind() string
	// At is the line of the batch on which it begins, from 1.
	At() int
}

// Line is where a statement begins; statements embed it.
type Line int

// At returns the line.
func (l Line) At() int { return int(l) }

// Select reads rows.
type Select struct {
	Line
	Top   Expr // nil for all
	Items []Item
	From  []Source
	Where Expr // nil for all
	Order []Order
}

// An Item of a SELECT: an expression or, where it is nil, *.
type Item struct {
	Alias  string
	Expr   Expr
	Of     string // the source whose columns * is; empty for all
	Assign string // the variable that takes the value, where the SELECT assigns
}

// A Source is a table or view, joined to those before it on a condition.
type Source struct {
	Name  []string // its parts, as sys and sql_logins
	Alias string
	On    Expr // nil for the first one and for a CROSS JOIN
	Left  bool // a LEFT JOIN
	Line  int
}

// Order sorts by an expression or, where Position is not 0, by the item at that place, counted from 1.
type Order struct {
	Expr       Expr
	Position   int
	Descending bool
}

// A Secret is the password of a CREATE or an ALTER LOGIN or USER.
type Secret struct {
	Text       string // what it is to be, unless Hash is set
	Hash       []byte
	Old        *string // OLD_PASSWORD
	MustChange bool
	Unlock     bool
}

// LoginOptions are the options that CREATE LOGIN and ALTER LOGIN share. What is nil was not named.
type LoginOptions struct {
	Password        *Secret
	DefaultDatabase *string
	CheckPolicy     *bool
	CheckExpiration *bool
}

type (
	// AlterLogin changes a login.
	AlterLogin struct {
		Line
		Name    string
		Enable  *bool
		Rename  *string
		Options LoginOptions
	}
	// CreateLogin adds a login. SID is nil where the server chooses it.
	CreateLogin struct {
		Line
		Name    string
		SID     []byte
		Options LoginOptions
	}
	// DropLogin removes a login.
	DropLogin struct {
		Line
		Name string
	}
	// CreateUser adds a user who logs in to a contained database.
	CreateUser struct {
		Line
		Name     string
		Password Secret
	}
	// AlterUser changes a user of the database.
	AlterUser struct {
		Line
		Name     string
		Rename   *string
		Password *Secret
	}
	// DropUser removes a user of the database.
	DropUser struct {
		Line
		Name string
	}
	// AlterRole adds a member to a role of the database or drops it.
	AlterRole struct {
		Line
		Role, Member string
		Add          bool
	}
	// AlterServerRole adds a member to a role or drops it.
	AlterServerRole struct {
		Line
		Role, Member string
		Add          bool
	}
	// Permission grants server permissions to a login or revokes them.
	Permission struct {
		Line
		Grant       bool
		Permissions []string // in upper case
		Login       string
	}
	// Kill ends a session.
	Kill struct {
		Line
		Session int64
	}
	// Use changes the current database.
	Use struct {
		Line
		Database string
	}
	// SetOption sets a session option that means nothing here.
	SetOption struct{ Line }
	// Declare declares a variable, with a value where Value is not nil.
	Declare struct {
		Line
		Name  string
		Type  tds.Type
		Value Expr
	}
	// Assign sets a variable.
	Assign struct {
		Line
		Name  string
		Value Expr
	}
	// Execute runs the text that Text yields.
	Execute struct {
		Line
		Text Expr
	}
	// Call runs a stored procedure.
	Call struct {
		Line
		Name string
	}
	// Begin, Commit and Rollback are the statements on transactions.
	Begin    struct{ Line }
	Commit   struct{ Line }
	Rollback struct{ Line }
	// If runs Then or Else, which may be empty, as Condition says.
	If struct {
		Line
		Condition  Expr
		Then, Else []Statement
	}
	// WaitFor waits.
	WaitFor struct {
		Line
		Seconds int64
	}
	// RaiseError raises error 50000 with a text of its own.
	RaiseError struct {
		Line
		Text            string
		Severity, State int64
	}
)

func (Select) Kind() string          { return "SELECT" }
func (AlterLogin) Kind() string      { return "ALTER LOGIN" }
func (CreateLogin) Kind() string     { return "CREATE LOGIN" }
func (DropLogin) Kind() string       { return "DROP LOGIN" }
func (CreateUser) Kind() string      { return "CREATE USER" }
func (AlterUser) Kind() string       { return "ALTER USER" }
func (DropUser) Kind() string        { return "DROP USER" }
func (AlterRole) Kind() string       { return "ALTER ROLE" }
func (AlterServerRole) Kind() string { return "ALTER SERVER ROLE" }
func (Kill) Kind() string            { return "KILL" }
func (Use) Kind() string             { return "USE" }
func (SetOption) Kind() string       { return "SET" }
func (Declare) Kind() string         { return "DECLARE" }
func (Assign) Kind() string          { return "SET" }
func (Execute) Kind() string         { return "EXECUTE" }
func (Call) Kind() string            { return "EXECUTE" }
func (Begin) Kind() string           { return "BEGIN TRANSACTION" }
func (Commit) Kind() string          { return "COMMIT" }
func (Rollback) Kind() string        { return "ROLLBACK" }
func (If) Kind() string              { return "IF" }
func (WaitFor) Kind() string         { return "WAITFOR" }
func (RaiseError) Kind() string      { return "RAISERROR" }

func (p Permission) Kind() string {
	if p.Grant {
		return "GRANT"
	}
	return "REVOKE"
}

// An Expr is a value or a condition.
type Expr interface{ isCondition() bool }

type (
	// Literal is a constant: nil, int64, string or []byte.
	Literal struct{ Value any }
	// Variable is @name or a parameter.
	Variable struct{ Name string }
	// Global is a function without parentheses, as @@VERSION.
	Global struct{ Name string }
	// Column of one of the sources; Qualifier is empty where none was given.
	Column struct {
		Qualifier, Name string
		Line            int
	}
	// Function call.
	Function struct {
		Name string // in upper case
		Args []Expr
	}
	// CountAll is COUNT(*).
	CountAll struct{}
	// Cast converts X. Style is CONVERT's third argument.
	Cast struct {
		X     Expr
		Type  tds.Type
		Style int
	}
	// Operation is + or -, a comparison, AND or OR.
	Operation struct {
		Operator    string
		Left, Right Expr
	}
	// Not is the negation of a condition.
	Not struct{ X Expr }
	// IsNull is X IS NULL.
	IsNull struct{ X Expr }
	// In is X IN (list).
	In struct {
		X    Expr
		List []Expr
	}
	// Like is X LIKE pattern.
	Like struct{ X, Pattern Expr }
	// Exists is true where the query has a row.
	Exists struct{ Query *Select }
	// Subquery is the value that a query in parentheses yields; it does not refer to the query around it.
	Subquery struct{ Query *Select }
	// Case is CASE WHEN condition THEN value ... ELSE value END.
	Case struct {
		When, Then []Expr
		Else       Expr // nil for NULL
	}
)

func (Literal) isCondition() bool  { return false }
func (Variable) isCondition() bool { return false }
func (Global) isCondition() bool   { return false }
func (Column) isCondition() bool   { return false }
func (Function) isCondition() bool { return false }
func (CountAll) isCondition() bool { return false }
func (Cast) isCondition() bool     { return false }
func (Case) isCondition() bool     { return false }
func (Subquery) isCondition() bool { return false }
func (Not) isCondition() bool      { return true }
func (IsNull) isCondition() bool   { return true }
func (In) isCondition() bool       { return true }
func (Like) isCondition() bool     { return true }
func (Exists) isCondition() bool   { return true }

func (o Operation) isCondition() bool { return o.Operator != "+" && o.Operator != "-" }
