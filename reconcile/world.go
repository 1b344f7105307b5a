package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/gitrota/gitrota/reconcile/mssql"
)

// promoted reports whether the auth Secret holds the staged credential.
func (w world) promoted() bool {
	return w.auth.UID != "" && w.auth.credential(w.target.AuthSecret) == w.keeper.Next.Credential
}

// authLost reports whether the auth Secret has nothing to say, of a database whose live credential the keeper has.
func (w world) authLost() bool {
	auth := w.auth.credential(w.target.AuthSecret)
	return !w.keeper.Live.IsZero() && (auth.Username == "" || auth.Password.IsZero())
}

// applied reports whether every replica is known to have the staged credential.
func (w world) applied() bool {
	return !w.incomplete() && !slices.ContainsFunc(w.replicas, func(r replica) bool { return r.next != yes })
}

// down reports whether a server is not there, or its pod does not run as it should.
func (w world) down() bool {
	return w.incomplete() || slices.ContainsFunc(w.replicas, func(r replica) bool { return !r.Ready && !r.connected })
}

// authUsername is the login that clients use.
func (w world) authUsername() string {
	if w.authLost() {
		return w.keeper.Live.Username
	}
	return w.auth.credential(w.target.AuthSecret).Username
}

// published reports whether the auth Secret has held the staged credential. The keeper is told a little later, and until
// then the Secret's own annotation says it, which who overwrites the data leaves alone.
func (w world) published() bool {
	return !w.keeper.Published.IsZero() || w.auth.Annotations[annotationRotation] == w.keeper.Next.RotationID
}

// pair reports whether the staged credential is of another login than the live one, so that both are valid for a while.
func (w world) pair() bool { return w.keeper.Next.Username != w.keeper.Live.Username }

// graceEnds is when the login that a pair was switched away from is retired.
func (w world) graceEnds() time.Time { return w.keeper.Published.Add(w.target.GracePeriod) }

// instances are the replicas that are servers of their own, and not the logins of a contained group.
func (w world) instances() []replica {
	return slices.DeleteFunc(slices.Clone(w.replicas), func(r replica) bool { return r.contained })
}

// wanted is how many servers have to be there. A group's own list of its members counts where it has one: a replica that
// was asked for and never joined has no password to change, and while gitrota keeps KubeDB away it cannot come. When it
// does, it begins with what is in the auth Secret by then.
func (w world) wanted() int {
	members := w.group.Replicas
	if slices.ContainsFunc(members, func(m mssql.GroupReplica) bool { return m.Primary }) { // a secondary knows only itself
		return min(len(members), w.target.Replicas)
	}
	return w.target.Replicas
}

// incomplete reports whether a server is missing.
func (w world) incomplete() bool { return len(w.instances()) < w.wanted() }

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

// grouped reports whether the servers are an availability group. KubeDB says so; of other servers only they know.
func (w world) grouped() bool {
	return w.target.KubeDB() && w.target.Group || len(w.group.Replicas) > 0
}

// stale reports whether a replica is a pod that still runs with the old password. Whether it is ready does not matter: a
// readiness probe that logs in with the password of its environment fails until it is restarted.
func (w world) stale(r replica) bool {
	uid, listed := w.keeper.Restart[r.Name]
	return listed && uid == r.UID && !r.contained
}

// nextToRestart is the replica whose pod is to be restarted next; the zero replica if none is. One that a disruption budget
// refuses gives way to one that is not ready: that may be what uses up the budget, and for as long as it is not restarted.
func (w world) nextToRestart() replica {
	var next replica
	for _, r := range w.replicas {
		if w.stale(r) && (next.Name == "" || next.refused && next.Ready && !r.Ready) {
			next = r
		}
	}
	return next
}

// starting reports whether a replica is a pod that may have come in the place of one that was restarted, and is not ready
// yet. Where none had to be restarted, none comes.
func (w world) starting(r replica) bool {
	return len(w.keeper.Restart) > 0 && !r.Ready && !r.contained && !w.stale(r)
}

// healthy reports whether every member of the availability group is there, connected and in step, as the primary sees
// it, and no pod is starting. Where no primary tells, it is not.
func (w world) healthy() bool {
	if len(w.group.Replicas) < len(w.instances()) {
		return false
	}
	return !slices.ContainsFunc(w.replicas, w.starting) && len(w.unhealthy()) == 0
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
