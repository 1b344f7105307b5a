package manifest

import "slices"

// Basis returns the files that a request rests on, sorted: its own, and those of the SQLServer and of the Secret that it
// names and of the policies that may be about its database, as far as the set has them.
func (s *Set) Basis(r *Request) []string {
	paths := s.Sources(r)
	database := s.Database(r.Namespace, r.Spec.DatabaseRef.Name)
	for _, p := range s.Policies {
		if p.isAbout(database, database.Kind == KindMSSQLServer && database.Labels == nil) {
			paths = append(paths, p.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Sources returns the files whose approval a request needs, sorted: its own, and those of the SQLServer and of the Secret
// that it names, as far as the set has them. Policies are not among them: a change of one is approved by itself.
func (s *Set) Sources(r *Request) []string {
	paths := []string{r.Path}
	if server := s.Server(r.Namespace, r.Spec.DatabaseRef.Name); server != nil {
		paths = append(paths, server.Path)
	}
	if r.Spec.Authentication != nil {
		if secret := s.Secret(r.Namespace, r.Spec.Authentication.SecretRef.Name); secret != nil {
			paths = append(paths, secret.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
