package kubedb

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Group makes the SQL Servers of a database one availability group. The provisioner writes it on each pod, in
// GroupAnnotation, and who runs the pods reads it there.
type Group struct {
	Database  types.UID `json:"database"` // whose pods they are
	Name      string    `json:"name"`     // of the availability group
	First     string    `json:"first"`    // the pod that makes the group; the others join it
	Databases []string  `json:"databases,omitempty"`
	Contained bool      `json:"contained,omitempty"`
	SyncDelay string    `json:"syncDelay,omitempty"` // how long a secondary needs until it is in step
}

// Group is the database's, which has to be one of several replicas.
func (db *MSSQLServer) Group() Group {
	g := Group{
		Database:  db.UID,
		Name:      alphanumeric(db.Name),
		First:     db.PodName(0),
		Contained: db.Annotations[ContainedAnnotation] == "true",
		SyncDelay: db.Annotations[SyncDelayAnnotation],
	}
	if own := db.Spec.Topology.AvailabilityGroup; own != nil {
		g.Databases = own.Databases
	}
	return g
}

// Annotation is the group as a pod has it.
func (g Group) Annotation() string {
	text, err := json.Marshal(g)
	if err != nil {
		panic(err) // it has nothing that could not be written
	}
	return string(text)
}

// GroupOf reads the group that a pod's SQL Server belongs to. It is not found on the pod of a standalone server.
func GroupOf(pod *corev1.Pod) (g Group, found bool, err error) {
	text, found := pod.Annotations[GroupAnnotation]
	if !found {
		return g, false, nil
	}
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		return g, false, fmt.Errorf("annotation %s: %w", GroupAnnotation, err)
	}
	return g, true, nil
}

// Delay is how long a secondary needs until it is in step.
func (g Group) Delay() (time.Duration, error) {
	if g.SyncDelay == "" {
		return 0, nil
	}
	delay, err := time.ParseDuration(g.SyncDelay)
	if err != nil {
		return 0, fmt.Errorf("annotation %s: %w", SyncDelayAnnotation, err)
	}
	return delay, nil
}

// HasArbiter reports whether a pod without SQL Server votes for a primary, since an even number of replicas could be
// of two minds.
func (db *MSSQLServer) HasArbiter() bool { return db.IsGroup() && db.Replicas()%2 == 0 }

// ArbiterName is that of the workload whose one pod is the arbiter.
func (db *MSSQLServer) ArbiterName() string { return db.Name + "-arbiter" }

// PodName is that of the replica with this ordinal.
func (db *MSSQLServer) PodName(ordinal int) string { return fmt.Sprintf("%s-%d", db.Name, ordinal) }

func alphanumeric(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, name)
}
