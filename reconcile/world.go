package reconcile

import (
	"fmt"
	"slices"
)

// promoted reports whether the auth Secret holds the staged credential.
func (w world) promoted() bool {
	return w.auth.UID != "" && w.auth.credential(w.target.AuthSecret) == w.keeper.Next.Credential
}

// published reports whether the auth Secret has held the staged credential. The keeper is told a little later, and until
// then the Secret's own annotation says it, which who overwrites the data leaves alone.
func (w world) published() bool {
	return !w.keeper.Published.IsZero() || w.auth.Annotations[annotationRotation] == w.keeper.Next.RotationID
}

// pair reports whether the staged credential is of another login than the live one, so that both are valid for a while.
func (w world) pair() bool { return w.keeper.Next.Username != w.keeper.Live.Username }

// instances are the replicas that are servers of their own, and not the logins of a contained group.
func (w world) instances() []replica {
	return slices.DeleteFunc(slices.Clone(w.replicas), func(r replica) bool { return r.contained })
}

// replica finds a replica by its name; the zero replica if there is none.
func (w world) replica(name string) replica {
	i := slices.IndexFunc(w.replicas, func(r replica) bool { return r.Name == name })
	if i < 0 {
		return replica{}
	}
	return w.replicas[i]
}

// missingReplica names a server that ought to be there and is not.
func (w world) missingReplica() string {
	for i := range w.target.Replicas {
		// StatefulSets and PetSets count their pods like this.
		if name := fmt.Sprintf("%s-%d", w.target.Name, i); w.replica(name).Name == "" && w.target.KubeDB() {
			return name
		}
	}
	return w.target.Name
}

// grouped reports whether the replicas are an availability group: KubeDB knows, and a document does not, so that its
// servers tell once a session is open on each.
func (w world) grouped() bool {
	return w.target.Group && (w.target.KubeDB() || len(w.group.Replicas) > 0)
}

// healthy reports whether every member of the availability group is there, connected and in step.
func (w world) healthy() bool {
	if len(w.group.Replicas) == 0 {
		return false
	}
	return !slices.ContainsFunc(w.replicas, func(r replica) bool { return !r.Ready }) && len(w.unhealthy()) == 0
}

func (w world) unhealthy() (names []string) {
	for _, r := range w.group.Replicas {
		if !r.Healthy || !r.Connected {
			names = append(names, r.Server)
		}
	}
	return names
}

// consumersPending reports whether the users of the auth Secret have not been restarted yet, as far as they can be.
func (w world) consumersPending() bool {
	return slices.ContainsFunc(w.consumers, func(c Consumer) bool { return w.pending(c) })
}

// pending reports whether a consumer has to be restarted or waited for. One that runs no pods, or whose controller was
// told to leave its pods alone, takes the new credential some other time.
func (w world) pending(c Consumer) bool {
	return !c.idle() && (c.RotationID != w.keeper.Next.RotationID || !c.Settled)
}

func (c Consumer) idle() bool { return c.Wanted == 0 || c.Paused }
