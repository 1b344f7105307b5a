package manifest

import "fmt"

// twin is a document that may share its name with another one.
type twin interface {
	comparable
	kind() string
	place() Problem // without a reason
	note(Problem)
}

// findTwins gives each of two documents with one name a problem that names the other place.
func findTwins[T twin](documents []T) {
	name := func(d T) string {
		p := d.place()
		return p.Namespace + "/" + p.Name
	}
	byName := map[string][]T{}
	for _, d := range documents {
		byName[name(d)] = append(byName[name(d)], d)
	}
	for _, d := range documents {
		for _, other := range byName[name(d)] {
			if other != d {
				d.note(twinProblem(d.place(), d.kind(), other.place(), other.kind()))
				break
			}
		}
	}
}

// findSharedSecrets gives each of two servers with one auth Secret a problem that names the other place. What is kept
// beside an auth Secret is about one login, and a rotation of one server would lock out the clients of the other.
func findSharedSecrets(servers []*Server) {
	bySecret := map[string][]*Server{}
	for _, s := range servers {
		key := s.Namespace + "/" + s.Spec.AuthSecret.Name
		bySecret[key] = append(bySecret[key], s)
	}
	for _, s := range servers {
		for _, other := range bySecret[s.Namespace+"/"+s.Spec.AuthSecret.Name] {
			if s.Spec.AuthSecret.Name == "" || other.Name == s.Name {
				continue
			}
			p := s.place()
			p.Line, p.Reason = s.authSecretLine, ReasonSharedSecret
			p.Message = fmt.Sprintf("spec.authSecret %s is that of the SQLServer %s at %s, too, and one Secret is about one login",
				s.Spec.AuthSecret.Name, other.Name, other.place().Where())
			p.Hint = "give each server a Secret of its own; servers that have the login in common are endpoints of one SQLServer"
			s.note(p)
			break
		}
	}
}

func twinProblem(own Problem, kind string, other Problem, otherKind string) Problem {
	name := own.Name
	if own.Namespace != "" {
		name = own.Namespace + "/" + name
	}
	own.Reason = ReasonDuplicateName
	own.Message = fmt.Sprintf("there is another %s named %s at %s", kind, name, other.Where())
	if kind != otherKind {
		own.Message = fmt.Sprintf("there is a %s named %s at %s, and both would have one status file", otherKind, name, other.Where())
	}
	own.Hint = "rename or remove one of them"
	return own
}
