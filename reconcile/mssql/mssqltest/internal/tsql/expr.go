package tsql

import (
	"strconv"
	"strings"
)

// value takes an expression that is a value, condition one that is true or false. Transact-SQL keeps them apart.
func (p *parser) value() Expr {
	start := p.at
	return p.mustBe(false, p.expression(), start)
}

func (p *parser) condition() Expr {
	start := p.at
	return p.mustBe(true, p.expression(), start)
}

func (p *parser) mustBe(condition bool, e Expr, start int) Expr {
	if e.isCondition() == condition {
		return e
	}
	if condition {
		p.fail(Errorf(4145, 15, "An expression of non-boolean type specified in a context where a condition is expected, near '%s'.", p.peek().value).at(p.tokens[start].line))
	}
	for _, t := range p.tokens[start:p.at] { // the first token that makes it a condition
		if t.kind == symbol && strings.ContainsAny(t.value, "=<>!") {
			p.fail(t.refused())
		}
	}
	p.refuse()
	return nil
}

func (p *parser) expression() (e Expr) {
	p.deeper(func() {
		e = p.and()
		for e.isCondition() && p.operator("OR") {
			e = Operation{"OR", e, p.operand(p.and)}
		}
	})
	return e
}

func (p *parser) and() Expr {
	e := p.not()
	for e.isCondition() && p.operator("AND") {
		e = Operation{"AND", e, p.operand(p.not)}
	}
	return e
}

// operand takes the right side of AND and OR.
func (p *parser) operand(f func() Expr) Expr {
	start := p.at
	return p.mustBe(true, f(), start)
}

func (p *parser) not() (e Expr) {
	if !p.accept("NOT") {
		return p.predicate()
	}
	p.deeper(func() { e = Not{p.operand(p.not)} })
	return e
}

func (p *parser) predicate() Expr {
	left := p.sum()
	if left.isCondition() {
		return left
	}
	for _, operator := range []string{"=", "<>", "!=", "<=", ">=", "<", ">"} {
		if p.accept(operator) {
			return Operation{strings.Replace(operator, "!=", "<>", 1), left, p.scalar(p.sum)}
		}
	}
	if p.accept("IS", "NULL") {
		return IsNull{left}
	}
	if p.accept("IS", "NOT", "NULL") {
		return Not{IsNull{left}}
	}
	negated := p.peek().is("NOT") && (p.tokens[p.at+1].is("IN") || p.tokens[p.at+1].is("LIKE")) && p.accept("NOT")
	var e Expr
	switch {
	case p.accept("IN"):
		in := In{X: left}
		p.expect("(")
		p.list(func() { in.List = append(in.List, p.value()) })
		p.expect(")")
		e = in
	case p.accept("LIKE"):
		e = Like{left, p.scalar(p.sum)}
	default:
		return left
	}
	if negated {
		return Not{e}
	}
	return e
}

// scalar takes an operand that is a value.
func (p *parser) scalar(f func() Expr) Expr {
	start := p.at
	return p.mustBe(false, f(), start)
}

func (p *parser) sum() Expr {
	e := p.primary()
	for !e.isCondition() {
		switch {
		case p.operator("+"):
			e = Operation{"+", e, p.scalar(p.primary)}
		case p.operator("-"):
			e = Operation{"-", e, p.scalar(p.primary)}
		default:
			return e
		}
	}
	return e
}

func (p *parser) primary() Expr {
	t := p.peek()
	switch t.kind {
	case text:
		return Literal{p.next().value}
	case binary:
		return Literal{[]byte(p.next().value)}
	case number:
		p.next()
		n, err := strconv.ParseInt(t.value, 10, 64)
		if err != nil {
			p.fail(Errorf(1007, 15, "The number '%s' is out of the range for numeric representation (maximum precision 38).", t.value).at(t.line))
		}
		return Literal{n}
	case variable:
		return Variable{p.variable()}
	case global:
		p.next()
		name := strings.ToUpper(t.value)
		if _, _, known := p.scope.Function(name); !known {
			p.fail(undeclared(t))
		}
		return Global{name}
	case quoted:
		return p.column()
	case symbol:
		return p.symbol()
	case word:
		return p.word()
	}
	p.refuse()
	return nil
}

func (p *parser) symbol() (e Expr) {
	switch {
	case p.accept("("):
		if p.peek().is("SELECT") {
			p.deeper(func() { e = Subquery{p.query()} })
		} else {
			e = p.expression()
		}
		p.expect(")")
	case p.accept("-"):
		p.deeper(func() { e = Operation{"-", Literal{int64(0)}, p.scalar(p.primary)} })
	default:
		p.refuse()
	}
	return e
}

func (p *parser) word() (e Expr) {
	t := p.peek()
	switch {
	case p.accept("NULL"):
		return Literal{}
	case p.accept("CURRENT_TIMESTAMP"):
		return Function{Name: "GETDATE"}
	case p.accept("SYSTEM_USER"):
		return Function{Name: "SUSER_NAME"}
	case p.accept("CASE"):
		return p.caseWhen()
	case p.accept("EXISTS"):
		p.expect("(")
		p.deeper(func() { e = Exists{p.query()} })
		p.expect(")")
		return e
	case p.accept("COUNT", "(", "*", ")"):
		return CountAll{}
	case p.accept("CAST", "("):
		x := p.value()
		p.expect("AS")
		e = Cast{X: x, Type: p.dataType()}
		p.expect(")")
		return e
	case p.accept("CONVERT", "("):
		c := Cast{Type: p.dataType()}
		p.expect(",")
		c.X = p.value()
		if p.accept(",") {
			c.Style = int(p.integer())
		}
		p.expect(")")
		return c
	case p.tokens[p.at+1].is("("):
		return p.function(t)
	}
	return p.column()
}

func (p *parser) column() Expr {
	c := Column{Line: p.peek().line, Name: p.name()}
	for p.accept(".") {
		c.Qualifier, c.Name = c.Name, p.name()
	}
	return c
}

func (p *parser) function(t token) Expr {
	f := Function{Name: strings.ToUpper(t.value)}
	least, most, known := p.scope.Function(f.Name)
	if !known || t.kind != word {
		if reserved[f.Name] {
			p.refuse()
		}
		err := Errorf(195, 15, "'%s' is not a recognized built-in function name.", t.value).at(t.line)
		err.State = 10
		p.fail(err)
	}
	p.next()
	p.expect("(")
	if !p.accept(")") {
		p.list(func() { f.Args = append(f.Args, p.value()) })
		p.expect(")")
	}
	if len(f.Args) < least || len(f.Args) > most {
		p.fail(Errorf(174, 15, "The %s function requires %d argument(s).", strings.ToLower(f.Name), least).at(t.line))
	}
	return f
}

func (p *parser) caseWhen() Expr {
	var c Case
	if !p.peek().is("WHEN") {
		p.refuse()
	}
	for p.accept("WHEN") {
		c.When = append(c.When, p.condition())
		p.expect("THEN")
		c.Then = append(c.Then, p.value())
	}
	if p.accept("ELSE") {
		c.Else = p.value()
	}
	p.expect("END")
	return c
}
