package manifest

import "slices"

// Basis returns the files that a request rests on, sorted: its own, and those of the SQLServer and of the Secret that it
// names and of the policies that may be about its database, as far as the set has them.
func (s *Set) Basis(r *Request) []string {
	paths := []string{r.Path}
	database := s.Database(r.Namespace, r.Spec.DatabaseRef.Name)
	if server := s.Server(r.Namespace, r.Spec.DatabaseRef.Name); server != nil {
		paths = append(paths, server.Path)
	}
	if r.Spec.Authentication != nil {
		if secret := s.Secret(r.Namespace, r.Spec.Authentication.SecretRef.Name); secret != nil {
			paths = append(paths, secret.Path)
		}
	}
	for _, p := range s.Policies {
		if p.isAbout(database, database.Kind == KindMSSQLServer) {
			paths = append(paths, p.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
