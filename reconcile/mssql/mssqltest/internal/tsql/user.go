package tsql

// createUser takes the CREATE USER of one who logs in to a contained database.
func (p *parser) createUser(line Line) Statement {
	s := CreateUser{Line: line, Name: p.name()}
	p.expect("WITH", "PASSWORD", "=")
	s.Password = p.userSecret(false)
	for p.accept(",") {
		p.expect("DEFAULT_SCHEMA", "=")
		p.name()
	}
	return s
}

func (p *parser) alterUser(line Line) Statement {
	s := AlterUser{Line: line, Name: p.name()}
	p.expect("WITH")
	p.list(func() {
		switch {
		case p.accept("PASSWORD"):
			p.expect("=")
			p.once(s.Password == nil)
			secret := p.userSecret(true)
			s.Password = &secret
		case p.accept("NAME"):
			p.expect("=")
			p.once(s.Rename == nil)
			name := p.name()
			s.Rename = &name
		default:
			p.expect("DEFAULT_SCHEMA", "=")
			p.name()
		}
	})
	return s
}

// userSecret takes a password, and the old one after it.
func (p *parser) userSecret(alter bool) Secret {
	at := p.at
	secret := p.secret(alter)
	if secret.Hash != nil || secret.MustChange || secret.Unlock { // those are for logins
		p.at = at + 1
		p.refuse()
	}
	return *secret
}

func (p *parser) alterRole(line Line) Statement {
	s := AlterRole{Line: line, Role: p.name()}
	if s.Add = p.accept("ADD"); !s.Add {
		p.expect("DROP")
	}
	p.expect("MEMBER")
	s.Member = p.name()
	return s
}
