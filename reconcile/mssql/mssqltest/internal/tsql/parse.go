package tsql

import (
	"strconv"
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
)

// A Scope is what a batch may refer to beyond what it declares itself.
type Scope struct {
	// Variables are the names of the parameters, with their @.
	Variables []string
	// Function reports how many arguments the built-in function of that name, in upper case, takes.
	Function func(name string) (least, most int, known bool)
}

// maxDepth bounds nesting and maxOperators the length of "a + b + ...", so that no batch exhausts the stack.
const (
	maxDepth     = 64
	maxOperators = 2000
)

type parser struct {
	tokens    []token
	at        int
	depth     int
	operators int
	scope     Scope
	variables map[string]bool // declared so far, in lower case
}

// fault carries an *Error up through the parser; Parse recovers it.
type fault struct{ err *Error }

// Parse reads a batch.
func Parse(batch string, scope Scope) (statements []Statement, err *Error) {
	tokens, err := lex(batch)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, scope: scope, variables: map[string]bool{}}
	for _, name := range scope.Variables {
		p.variables[strings.ToLower(name)] = true
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fault:
			statements, err = nil, r.err
		default:
			panic(r)
		}
	}()
	if len(tokens) == 2 && p.peek().kind == word && !reserved[strings.ToUpper(p.peek().value)] {
		return []Statement{Call{Line(p.peek().line), p.name()}}, nil // a batch of one word calls a procedure
	}
	for {
		for p.accept(";") {
		}
		if p.peek().kind == end {
			return statements, nil
		}
		statements = append(statements, p.statement()...)
	}
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != end {
		p.at++
	}
	return t
}

// refuse ends parsing with a syntax error at the next token.
func (p *parser) refuse() { p.fail(p.peek().refused()) }

func (p *parser) fail(err *Error) { panic(fault{err}) }

// deeper runs f one level further down.
func (p *parser) deeper(f func()) {
	if p.depth++; p.depth > maxDepth {
		p.tooDeep()
	}
	f()
	p.depth--
}

// operator takes one more operator of a chain.
func (p *parser) operator(words ...string) bool {
	if !p.accept(words...) {
		return false
	}
	if p.operators++; p.operators > maxOperators {
		p.tooDeep()
	}
	return true
}

func (p *parser) tooDeep() {
	p.fail(Errorf(191, 15, "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into smaller queries.").at(p.peek().line))
}

// accept takes the keywords or symbols if they are next, all of them or none.
func (p *parser) accept(words ...string) bool {
	for i, w := range words {
		if p.at+i >= len(p.tokens) || !p.tokens[p.at+i].is(w) {
			return false
		}
	}
	p.at += len(words)
	return true
}

func (p *parser) expect(words ...string) {
	for _, w := range words {
		if !p.accept(w) {
			p.refuse()
		}
	}
}

// name takes an identifier.
func (p *parser) name() string {
	t := p.peek()
	if t.kind != quoted && (t.kind != word || reserved[strings.ToUpper(t.value)]) {
		p.refuse()
	}
	return p.next().value
}

// variable takes the name of a variable that was declared.
func (p *parser) variable() string {
	t := p.peek()
	if t.kind != variable {
		p.refuse()
	}
	name := strings.ToLower(t.value)
	if !p.variables[name] {
		p.fail(undeclared(t))
	}
	p.next()
	return name
}

func undeclared(t token) *Error {
	err := Errorf(137, 15, `Must declare the scalar variable "%s".`, t.value).at(t.line)
	err.State = 2
	return err
}

// integer takes a whole number of at most 2147483647.
func (p *parser) integer() int64 {
	if p.peek().kind != number {
		p.refuse()
	}
	n, err := strconv.ParseInt(p.peek().value, 10, 32)
	if err != nil {
		p.refuse()
	}
	p.next()
	return n
}

// dataType takes the name of a type with its length.
func (p *parser) dataType() tds.Type {
	t := p.peek()
	name := strings.ToLower(p.name())
	sized := func(kind tds.Kind, byDefault, most int64) tds.Type {
		if !p.accept("(") {
			return tds.Type{Kind: kind, Size: int(byDefault)}
		}
		if p.accept("MAX") {
			p.expect(")")
			return tds.Type{Kind: kind}
		}
		size := p.integer()
		if size < 1 || size > most {
			p.refuse()
		}
		p.expect(")")
		return tds.Type{Kind: kind, Size: int(size)}
	}
	switch name {
	case "tinyint":
		return tds.Type{Kind: tds.Int, Size: 1}
	case "smallint":
		return tds.Type{Kind: tds.Int, Size: 2}
	case "int":
		return tds.Type{Kind: tds.Int, Size: 4}
	case "bigint":
		return tds.Type{Kind: tds.Int, Size: 8}
	case "bit":
		return tds.Type{Kind: tds.Bit}
	case "sysname":
		return tds.Type{Kind: tds.NVarChar, Size: 128}
	case "nvarchar", "nchar":
		return sized(tds.NVarChar, 30, 4000)
	case "varchar", "char":
		return sized(tds.NVarChar, 30, 8000)
	case "varbinary", "binary":
		return sized(tds.VarBinary, 30, 8000)
	case "datetime", "smalldatetime":
		return tds.Type{Kind: tds.DateTime}
	case "datetime2", "datetimeoffset":
		if p.accept("(") {
			p.integer()
			p.expect(")")
		}
		return tds.Type{Kind: tds.DateTime2}
	case "sql_variant":
		return tds.Type{Kind: tds.Variant}
	}
	p.fail(Errorf(243, 16, "Type %s is not a defined system type.", t.value).at(t.line))
	return tds.Type{}
}

// ParseParameters reads what sp_executesql declares: "@p1 nvarchar(5), @p2 int".
func ParseParameters(declarations string) (names []string, types []tds.Type, err *Error) {
	tokens, err := lex(declarations)
	if err != nil {
		return nil, nil, err
	}
	p := &parser{tokens: tokens}
	defer func() {
		if f, ok := recover().(fault); ok {
			names, types, err = nil, nil, f.err
		}
	}()
	for {
		if p.peek().kind != variable {
			p.refuse()
		}
		names = append(names, strings.ToLower(p.next().value))
		p.accept("AS")
		types = append(types, p.dataType())
		if p.peek().kind == end {
			return names, types, nil
		}
		p.expect(",")
	}
}
