package manifest

import (
	"slices"

	"github.com/gitrota/gitrota/policies/selection"
)

// Basis returns the files that a request rests on, sorted: its own, and those of the SQLServer and of the Secret that it
// names and of the policies that may be about its database, as far as the set has them.
func (s *Set) Basis(r *Request) []string {
	paths := []string{r.Path}
	kind := KindMSSQLServer
	if server := s.Server(r.Namespace, r.Spec.DatabaseRef.Name); server != nil {
		kind, paths = KindServer, append(paths, server.Path)
	}
	if r.Spec.Authentication != nil {
		if secret := s.Secret(r.Namespace, r.Spec.Authentication.SecretRef.Name); secret != nil {
			paths = append(paths, secret.Path)
		}
	}
	database := selection.Database{Kind: kind, Namespace: r.Namespace, Name: r.Spec.DatabaseRef.Name}
	for _, p := range s.Policies {
		if p.mayBeAbout(database) {
			paths = append(paths, p.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
