package tsql

import (
	"fmt"
	"strings"
)

// statement takes one statement. A DECLARE of several variables is several; a block is what is in it.
func (p *parser) statement() (out []Statement) {
	line := Line(p.peek().line)
	one := func(s Statement) []Statement { return []Statement{s} }
	switch {
	case p.peek().is("SELECT"):
		return one(*p.query())
	case p.accept("ALTER", "LOGIN"):
		return one(p.alterLogin(line))
	case p.accept("CREATE", "LOGIN"):
		return one(p.createLogin(line))
	case p.accept("DROP", "LOGIN"):
		return one(DropLogin{line, p.name()})
	case p.accept("CREATE", "USER"):
		return one(p.createUser(line))
	case p.accept("ALTER", "USER"):
		return one(p.alterUser(line))
	case p.accept("DROP", "USER"):
		return one(DropUser{line, p.name()})
	case p.accept("ALTER", "ROLE"):
		return one(p.alterRole(line))
	case p.accept("ALTER", "SERVER", "ROLE"):
		return one(p.alterServerRole(line))
	case p.accept("GRANT"):
		return one(p.permission(line, true))
	case p.accept("REVOKE"):
		return one(p.permission(line, false))
	case p.accept("KILL"):
		return one(Kill{line, p.integer()})
	case p.accept("USE"):
		return one(Use{line, p.name()})
	case p.accept("SET"):
		return one(p.set(line))
	case p.accept("DECLARE"):
		return p.declare(line)
	case p.accept("EXEC"), p.accept("EXECUTE"):
		return one(p.execute(line))
	case p.accept("BEGIN", "TRAN"), p.accept("BEGIN", "TRANSACTION"):
		p.transactionName()
		return one(Begin{line})
	case p.accept("COMMIT"):
		p.endTransaction()
		return one(Commit{line})
	case p.accept("ROLLBACK"):
		p.endTransaction()
		return one(Rollback{line})
	case p.accept("IF"):
		p.deeper(func() { out = one(p.conditional(line)) })
		return out
	case p.accept("BEGIN"):
		p.deeper(func() { out = p.block() })
		return out
	case p.accept("WAITFOR", "DELAY"):
		return one(p.waitFor(line))
	case p.accept("RAISERROR"):
		return one(p.raiseError(line))
	}
	// SQL Server names the word that it cannot read on from, which for "ALTER TABLE" is the second one.
	for _, verb := range []string{"ALTER", "CREATE", "DROP"} {
		if p.accept(verb) {
			break
		}
	}
	p.refuse()
	return nil
}

// endTransaction takes what may follow COMMIT and ROLLBACK.
func (p *parser) endTransaction() {
	if p.accept("WORK") {
		return
	}
	if p.accept("TRAN") || p.accept("TRANSACTION") {
		p.transactionName()
	}
}

// transactionName takes a name, which means nothing, if there is one.
func (p *parser) transactionName() {
	if t := p.peek(); t.kind == quoted || t.kind == word && !reserved[strings.ToUpper(t.value)] {
		p.next()
	}
}

func (p *parser) block() (out []Statement) {
	for {
		for p.accept(";") {
		}
		if p.accept("END") {
			if len(out) == 0 {
				p.at--
				p.refuse() // an empty block is a syntax error
			}
			return out
		}
		out = append(out, p.statement()...)
	}
}

func (p *parser) conditional(line Line) Statement {
	s := If{Line: line, Condition: p.condition()}
	s.Then = p.statement()
	semicolon := p.at
	p.accept(";")
	if p.accept("ELSE") {
		s.Else = p.statement()
	} else {
		p.at = semicolon
	}
	return s
}

func (p *parser) waitFor(line Line) Statement {
	t := p.peek()
	if t.kind != text {
		p.refuse()
	}
	var hours, minutes, seconds int64
	if n, err := fmt.Sscanf(t.value, "%d:%d:%d", &hours, &minutes, &seconds); err != nil || n != 3 ||
		hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59 {
		p.fail(Errorf(148, 15, "Incorrect time syntax in time string '%s' used with WAITFOR.", t.value).at(t.line))
	}
	p.next()
	return WaitFor{line, hours*3600 + minutes*60 + seconds}
}

// raiseError takes a text, a severity and a state. Placeholders in the text, severities that end the session and options
// are not served.
func (p *parser) raiseError(line Line) Statement {
	p.expect("(")
	t := p.peek()
	if t.kind != text || strings.Contains(t.value, "%") {
		p.refuse()
	}
	p.next()
	p.expect(",")
	s := RaiseError{Line: line, Text: t.value, Severity: p.integer()}
	p.expect(",")
	s.State = p.integer()
	if s.Severity < 11 || s.Severity > 18 || s.State > 255 {
		p.refuse()
	}
	p.expect(")")
	return s
}

func (p *parser) set(line Line) Statement {
	if p.peek().kind == variable {
		name := p.variable()
		p.expect("=")
		return Assign{line, name, p.value()}
	}
	if p.accept("TRANSACTION", "ISOLATION", "LEVEL") {
		for _, level := range [][]string{{"READ", "COMMITTED"}, {"READ", "UNCOMMITTED"}, {"REPEATABLE", "READ"}, {"SNAPSHOT"}, {"SERIALIZABLE"}} {
			if p.accept(level...) {
				return SetOption{line}
			}
		}
		p.refuse()
	}
	option := p.next()
	if option.kind != word || !setOptions[strings.ToUpper(option.value)] {
		if option.kind != word {
			p.fail(option.refused())
		}
		p.fail(Errorf(195, 15, "'%s' is not a recognized SET option.", option.value).at(option.line))
	}
	for p.accept(",") { // SET ANSI_NULLS, ANSI_WARNINGS ON
		if more := p.next(); more.kind != word || !setOptions[strings.ToUpper(more.value)] {
			p.fail(more.refused())
		}
	}
	switch t := p.peek(); {
	case p.accept("ON"), p.accept("OFF"):
	case p.accept("-"):
		p.integer() // SET LOCK_TIMEOUT -1
	case t.kind == number:
		p.integer()
	case t.kind == text:
		p.next()
	default:
		p.name()
	}
	return SetOption{line}
}

func (p *parser) declare(line Line) (out []Statement) {
	for {
		t := p.next()
		if t.kind != variable {
			p.fail(t.refused())
		}
		name := strings.ToLower(t.value)
		if p.variables[name] {
			p.fail(Errorf(134, 15, "The variable name '%s' has already been declared. Variable names must be unique within a query batch or stored procedure.", t.value).at(t.line))
		}
		p.accept("AS")
		s := Declare{Line: line, Name: name, Type: p.dataType()}
		if p.accept("=") {
			s.Value = p.value()
		}
		p.variables[name] = true
		out = append(out, s)
		if !p.accept(",") {
			return out
		}
	}
}

func (p *parser) execute(line Line) Statement {
	if p.accept("(") {
		s := Execute{line, p.value()}
		p.expect(")")
		return s
	}
	name := p.name()
	for p.accept(".") {
		name = p.name()
	}
	if strings.EqualFold(name, "sp_executesql") {
		return Execute{line, p.value()}
	}
	for t := p.peek(); t.kind != end && !t.is(";"); t = p.peek() {
		p.next() // the arguments of a procedure that is not there
	}
	return Call{line, name}
}
