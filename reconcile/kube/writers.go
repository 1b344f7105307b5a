package kube

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitrota/gitrota/reconcile"
)

func owners(s *corev1.Secret) []reconcile.Owner {
	var list []reconcile.Owner
	for _, ref := range s.OwnerReferences {
		list = append(list, reconcile.Owner{
			Kind: ref.Kind, Name: ref.Name, UID: string(ref.UID), Controller: ref.Controller != nil && *ref.Controller,
		})
	}
	return list
}

// writers reads from managedFields which manager wrote each key of the data last. They are there to explain to people
// who was it, so a manager whose fields cannot be read is passed over, and a key that nobody is said to manage is
// missing.
func writers(s *corev1.Secret) map[string]string {
	managers := map[string]string{}
	since := map[string]time.Time{}
	for _, entry := range s.ManagedFields {
		var fields struct {
			Data map[string]json.RawMessage `json:"f:data"`
		}
		if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		var written time.Time
		if entry.Time != nil {
			written = entry.Time.Time
		}
		for key := range s.Data {
			// Several managers of one key have applied the same value.
			if _, ok := fields.Data["f:"+key]; ok && !written.Before(since[key]) {
				managers[key], since[key] = entry.Manager, written
			}
		}
	}
	return managers
}
