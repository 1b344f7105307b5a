package mssqltest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// An execution runs one request of a session.
type execution struct {
	*session
	ctx       context.Context
	answer    *tds.Response
	variables map[string]*binding // by name in lower case, with the @
	nesting   int                 // how many EXEC it is inside of
	failed    bool                // whether an error was reported
}

// A binding is what a variable or a parameter holds.
type binding struct {
	kind  tds.Type
	value any
}

const maxNesting = 32

func (s *session) execution(ctx context.Context, answer *tds.Response) *execution {
	return &execution{session: s, ctx: ctx, answer: answer, variables: map[string]*binding{}}
}

// batch runs a batch. An error that is returned ends the session.
func (e *execution) batch(text string) error {
	e.server.counters.executed(text)
	return e.survives(e.text(text))
}

// call runs a stored procedure, of which there is one: sp_executesql.
func (e *execution) call(call tds.RPC) error {
	e.answer.InProcedure = true
	err := e.executeSQL(call)
	err = e.survives(err)
	var status int32
	if e.failed {
		status = 1
	}
	e.answer.EndProcedure(status)
	return err
}

func (e *execution) executeSQL(call tds.RPC) error {
	name := strings.ToLower(call.Name)
	if name = name[strings.LastIndexByte(name, '.')+1:]; name != "sp_executesql" {
		return noProcedure(call.Name)
	}
	const usage = "Procedure or function 'sp_executesql' expects parameter '@statement', which was not supplied."
	if len(call.Parameters) == 0 {
		return tsql.Errorf(201, 16, usage)
	}
	text, ok := call.Parameters[0].Value.(string)
	if !ok {
		return tsql.Errorf(214, 16, "Procedure expects parameter '@statement' of type 'ntext/nchar/nvarchar'.")
	}
	if len(call.Parameters) > 1 {
		if err := e.bind(call.Parameters[1], call.Parameters[2:]); err != nil {
			return err
		}
	}
	e.server.counters.executed(text)
	return e.text(text)
}

// bind declares the parameters and gives them their values, by name or by position.
func (e *execution) bind(declarations tds.Parameter, values []tds.Parameter) error {
	text, ok := declarations.Value.(string)
	if !ok {
		return tsql.Errorf(214, 16, "Procedure expects parameter '@params' of type 'ntext/nchar/nvarchar'.")
	}
	names, types, err := tsql.ParseParameters(text)
	if err != nil {
		return err
	}
	given := map[string]any{}
	for i, v := range values {
		name := strings.ToLower(v.Name)
		if name == "" && i < len(names) {
			name = names[i]
		}
		given[name] = v.Value
	}
	for i, name := range names {
		value, ok := given[name]
		if !ok {
			return tsql.Errorf(8178, 16, "The parameterized query '%s' expects the parameter '%s', which was not supplied.", text, name)
		}
		converted, err := convert(value, types[i], 0)
		if err != nil {
			return err
		}
		e.variables[name] = &binding{types[i], converted}
	}
	return nil
}

// survives reports an error of SQL to the client. What is no error of SQL, or a severe one, it returns.
func (e *execution) survives(err error) error {
	var refused *tsql.Error
	if !errors.As(err, &refused) {
		return err
	}
	e.failed = true
	e.answer.Notice(e.server.notice(refused))
	e.answer.Done(true)
	if refused.Class >= severe {
		e.answer.Finish()
		return errors.Join(err, e.conn.Reply(e.answer.Bytes()))
	}
	return nil
}

// text parses a batch as a whole and runs its statements.
func (e *execution) text(batch string) error {
	scope := tsql.Scope{Function: e.server.options.Flavour.arity}
	for name := range e.variables {
		scope.Variables = append(scope.Variables, name)
	}
	statements, refused := tsql.Parse(batch, scope)
	if refused != nil {
		return refused
	}
	return e.all(statements)
}

// all runs statements. One that fails does not keep the next from running, but for the errors that abort a batch.
func (e *execution) all(statements []tsql.Statement) error {
	for _, statement := range statements {
		err := e.statement(statement)
		var refused *tsql.Error
		if errors.As(err, &refused) {
			if refused.Line == 0 {
				refused.Line = statement.At()
			}
			if !abortsBatch(refused) {
				err = e.survives(err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// statement runs one statement, with the fault that is meant for it.
func (e *execution) statement(statement tsql.Statement) error {
	return e.faulty(e.ctx, statement.Kind(), func() error { return e.execute(statement) })
}

// faulty executes a statement of a kind, unless the fault that is meant for it keeps it from that.
func (s *session) faulty(ctx context.Context, kind string, execute func() error) error {
	fault := s.server.plan.statement(kind)
	switch {
	case !sleep(ctx, time.Duration(fault.Delay)):
		return s.interrupted()
	case fault.Drop == DropBefore:
		return errDropped
	case fault.Error != 0:
		return forced(fault.Error)
	}
	err := execute()
	if fault.Drop == DropAfter {
		return errDropped
	}
	return err
}

// interrupted is the end of an execution that its client has cancelled; the session goes on, unless it is ending too.
func (s *session) interrupted() error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	return tsql.Errorf(3621, 15, "The statement has been terminated.")
}

func (e *execution) execute(statement tsql.Statement) error {
	if err := e.server.options.Flavour.permits(statement, e.currentDatabase()); err != nil {
		return err
	}
	switch s := statement.(type) {
	case tsql.Select:
		return e.selectRows(&s)
	case tsql.If:
		return e.conditional(s)
	case tsql.Execute:
		return e.dynamic(s)
	case tsql.Call:
		return noProcedure(s.Name)
	case tsql.Declare:
		return e.declare(s)
	case tsql.Assign:
		return e.assign(s.Name, s.Value)
	}
	if err := e.command(statement); err != nil {
		if errors.Is(err, context.Canceled) {
			return e.interrupted()
		}
		return err
	}
	e.answer.Done(false)
	return nil
}

// command runs a statement that has no result.
func (e *execution) command(statement tsql.Statement) error {
	switch s := statement.(type) {
	case tsql.AlterLogin:
		return e.alterLogin(s)
	case tsql.CreateLogin:
		return e.createLogin(s)
	case tsql.DropLogin:
		return e.dropLogin(s)
	case tsql.CreateUser:
		return e.createUser(s)
	case tsql.AlterUser:
		return e.alterUser(s)
	case tsql.DropUser:
		return e.dropUser(s)
	case tsql.AlterRole:
		return e.alterRole(s)
	case tsql.AlterServerRole:
		return e.alterServerRole(s)
	case tsql.Permission:
		return e.permission(s)
	case tsql.Kill:
		return e.kill(int(s.Session))
	case tsql.Use:
		return e.useDatabase(s)
	case tsql.Begin:
		return e.beginTransaction(e.answer)
	case tsql.Commit:
		return e.commitTransaction(e.answer)
	case tsql.Rollback:
		return e.rollbackTransaction(e.answer)
	case tsql.RaiseError:
		raised := tsql.Errorf(userError, uint8(s.Severity), "%s", s.Text)
		raised.State = uint8(s.State)
		return raised
	case tsql.WaitFor:
		if !sleep(e.ctx, time.Duration(s.Seconds)*time.Second) {
			return context.Canceled
		}
	}
	return nil // SET options change nothing here
}

func (e *execution) conditional(s tsql.If) error {
	condition, err := e.constant(s.Condition)
	if err != nil {
		return err
	}
	if condition == true {
		return e.all(s.Then)
	}
	return e.all(s.Else)
}

// dynamic runs the text that an expression yields, in a scope of its own.
func (e *execution) dynamic(s tsql.Execute) error {
	text, err := e.constant(s.Text)
	if err != nil || text == nil {
		return err
	}
	batch, ok := text.(string)
	if !ok {
		return tsql.Errorf(214, 16, "Procedure expects parameter '@statement' of type 'ntext/nchar/nvarchar'.")
	}
	if e.nesting == maxNesting {
		return tsql.Errorf(217, 16, "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit %d).", maxNesting)
	}
	e.server.counters.executed(batch)
	inner := &execution{session: e.session, ctx: e.ctx, answer: e.answer, variables: map[string]*binding{}, nesting: e.nesting + 1}
	err = inner.text(batch)
	e.failed = e.failed || inner.failed
	return err
}

func (e *execution) declare(s tsql.Declare) error {
	e.variables[s.Name] = &binding{kind: s.Type}
	if s.Value == nil {
		return nil
	}
	return e.assign(s.Name, s.Value)
}

func (e *execution) assign(name string, x tsql.Expr) error {
	value, err := e.constant(x)
	if err != nil {
		return err
	}
	variable := e.variables[name]
	variable.value, err = convert(value, variable.kind, 0)
	return err
}

func (e *execution) useDatabase(s tsql.Use) error {
	id, name := e.catalog().database(s.Database)
	if id == 0 {
		return tsql.Errorf(911, 16, "Database '%s' does not exist. Make sure that the name is entered correctly.", s.Database)
	}
	if e.userOf != "" && !strings.EqualFold(name, e.userOf) && !strings.EqualFold(name, "master") && !strings.EqualFold(name, "tempdb") {
		return tsql.Errorf(916, 14, "The server principal \"%s\" is not able to access the database \"%s\" under the current security context.", e.login, name)
	}
	if err := e.server.unavailable(name); err != nil {
		return err
	}
	old := e.use(name)
	e.answer.Database(name, old)
	e.answer.Notice(e.changedDatabase())
	return nil
}

// kill ends another session.
func (e *execution) kill(id int) error {
	if !e.self().may("ALTER ANY CONNECTION") {
		return tsql.Errorf(6102, 14, "User does not have permission to use the KILL statement.")
	}
	if id == e.id {
		return tsql.Errorf(6104, 16, "Cannot use KILL to kill your own process.")
	}
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	victim := e.server.sessions[id]
	if victim == nil {
		return tsql.Errorf(6106, 16, "Process ID %d is not an active process ID.", id)
	}
	victim.cancel()
	return nil
}

func noProcedure(name string) error {
	err := tsql.Errorf(2812, 16, "Could not find stored procedure '%s'.", name)
	err.State = 62
	return err
}
