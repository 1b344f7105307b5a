package tsql

import "strings"

func (p *parser) alterLogin(line Line) Statement {
	s := AlterLogin{Line: line, Name: p.name()}
	yes, no := true, false
	switch {
	case p.accept("ENABLE"):
		s.Enable = &yes
	case p.accept("DISABLE"):
		s.Enable = &no
	default:
		p.expect("WITH")
		p.list(func() {
			if p.accept("NAME") {
				p.expect("=")
				p.once(s.Rename == nil)
				name := p.name()
				s.Rename = &name
				return
			}
			p.loginOption(&s.Options, true)
		})
	}
	return s
}

func (p *parser) createLogin(line Line) Statement {
	s := CreateLogin{Line: line, Name: p.name()}
	p.expect("WITH")
	if !p.peek().is("PASSWORD") {
		p.refuse()
	}
	p.list(func() {
		if p.accept("SID") {
			p.expect("=")
			p.once(s.SID == nil)
			if p.peek().kind != binary {
				p.refuse()
			}
			s.SID = []byte(p.next().value)
			return
		}
		p.loginOption(&s.Options, false)
	})
	return s
}

// list takes one or more items, separated by commas.
func (p *parser) list(item func()) {
	item()
	for p.accept(",") {
		item()
	}
}

// once refuses an option that is given again.
func (p *parser) once(first bool) {
	if !first {
		p.refuse()
	}
}

func (p *parser) loginOption(o *LoginOptions, alter bool) {
	option := p.next()
	assign := func(first bool) {
		p.expect("=")
		p.once(first)
	}
	switch {
	case option.is("PASSWORD"):
		assign(o.Password == nil)
		o.Password = p.secret(alter)
	case option.is("DEFAULT_DATABASE"):
		assign(o.DefaultDatabase == nil)
		name := p.name()
		o.DefaultDatabase = &name
	case option.is("DEFAULT_LANGUAGE"):
		p.expect("=")
		p.name()
	case option.is("CHECK_POLICY"):
		assign(o.CheckPolicy == nil)
		o.CheckPolicy = p.onOff()
	case option.is("CHECK_EXPIRATION"):
		assign(o.CheckExpiration == nil)
		o.CheckExpiration = p.onOff()
	default:
		p.fail(option.refused())
	}
}

func (p *parser) onOff() *bool {
	on := p.accept("ON")
	if !on {
		p.expect("OFF")
	}
	return &on
}

// secret takes a password and what may follow it: OLD_PASSWORD, or MUST_CHANGE and UNLOCK.
func (p *parser) secret(alter bool) *Secret {
	s := &Secret{}
	t := p.next()
	switch {
	case t.kind == text:
		s.Text = t.value
	case t.kind == binary && p.accept("HASHED"):
		s.Hash = []byte(t.value)
	default:
		p.fail(t.refused()) // a variable, too: PASSWORD takes a literal
	}
	if alter && p.accept("OLD_PASSWORD") {
		p.expect("=")
		if p.peek().kind != text {
			p.refuse()
		}
		old := p.next().value
		s.Old = &old
		return s
	}
	for {
		switch {
		case !s.MustChange && p.accept("MUST_CHANGE"):
			s.MustChange = true
		case alter && !s.Unlock && p.accept("UNLOCK"):
			s.Unlock = true
		default:
			return s
		}
	}
}

func (p *parser) alterServerRole(line Line) Statement {
	s := AlterServerRole{Line: line, Role: p.name()}
	if s.Add = p.accept("ADD"); !s.Add {
		p.expect("DROP")
	}
	p.expect("MEMBER")
	s.Member = p.name()
	return s
}

// permissions are those that can be granted.
var permissions = []string{
	"CONTROL SERVER", "ALTER ANY LOGIN", "ALTER ANY CONNECTION", "VIEW SERVER STATE",
	"VIEW SERVER PERFORMANCE STATE", "VIEW ANY DEFINITION",
	"VIEW ANY CRYPTOGRAPHICALLY SECURED DEFINITION",
}

func (p *parser) permission(line Line, grant bool) Statement {
	s := Permission{Line: line, Grant: grant}
	p.list(func() {
		for _, name := range permissions {
			if p.accept(strings.Fields(name)...) {
				s.Permissions = append(s.Permissions, name)
				return
			}
		}
		p.refuse()
	})
	if grant || !p.accept("FROM") {
		p.expect("TO")
	}
	s.Login = p.name()
	return s
}
