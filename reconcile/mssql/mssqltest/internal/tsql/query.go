package tsql

import "strings"

// query takes a SELECT.
func (p *parser) query() *Select {
	s := &Select{Line: Line(p.peek().line)}
	p.expect("SELECT")
	if p.accept("TOP") {
		if p.accept("(") {
			s.Top = p.value()
			p.expect(")")
		} else {
			s.Top = Literal{p.integer()}
		}
	}
	p.list(func() { s.Items = append(s.Items, p.item()) })
	if p.accept("FROM") {
		s.From = append(s.From, p.source())
		for p.join(s) {
		}
	}
	if p.accept("WHERE") {
		s.Where = p.condition()
	}
	if p.accept("ORDER") {
		p.expect("BY")
		p.list(func() { s.Order = append(s.Order, p.order()) })
	}
	return s
}

func (p *parser) item() Item {
	if p.accept("*") {
		return Item{}
	}
	if p.at+2 < len(p.tokens) && p.tokens[p.at+1].is(".") && p.tokens[p.at+2].is("*") {
		of := p.name()
		p.expect(".", "*")
		return Item{Of: of}
	}
	if p.peek().kind == variable && p.tokens[p.at+1].is("=") {
		name := p.variable()
		p.expect("=")
		return Item{Assign: name, Expr: p.value()}
	}
	item := Item{Expr: p.value()}
	if c, ok := item.Expr.(Column); ok {
		item.Alias = c.Name
	}
	if alias, ok := p.alias(true); ok {
		item.Alias = alias
	}
	return item
}

// alias takes a name, with or without AS; that of a column may be a string.
func (p *parser) alias(column bool) (string, bool) {
	as := p.accept("AS")
	t := p.peek()
	switch {
	case t.kind == text && column:
		return p.next().value, true
	case as, t.kind == quoted, t.kind == word && !reserved[strings.ToUpper(t.value)]:
		return p.name(), true
	}
	return "", false
}

func (p *parser) source() Source {
	s := Source{Line: p.peek().line, Name: []string{p.name()}}
	for p.accept(".") {
		s.Name = append(s.Name, p.name())
	}
	s.Alias = s.Name[len(s.Name)-1]
	if alias, ok := p.alias(false); ok {
		s.Alias = alias
	}
	if p.accept("WITH") {
		p.expect("(", "NOLOCK", ")")
	}
	return s
}

// join takes one more source, if there is one.
func (p *parser) join(s *Select) bool {
	left := false
	switch {
	case p.accept("CROSS", "JOIN"):
		s.From = append(s.From, p.source())
		return true
	case p.accept("LEFT", "JOIN"), p.accept("LEFT", "OUTER", "JOIN"):
		left = true
	case p.accept("JOIN"), p.accept("INNER", "JOIN"):
	default:
		return false
	}
	source := p.source()
	p.expect("ON")
	source.On, source.Left = p.condition(), left
	s.From = append(s.From, source)
	return true
}

func (p *parser) order() Order {
	var o Order
	if p.peek().kind == number {
		o.Position = int(p.integer())
	} else {
		o.Expr = p.value()
	}
	if p.accept("DESC") {
		o.Descending = true
	} else {
		p.accept("ASC")
	}
	return o
}
