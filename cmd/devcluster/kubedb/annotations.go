package kubedb

// Annotations that a devcluster obeys, for tests and demonstrations. On a MSSQLServer, those of pods are handed to its
// pods when they change there.
const (
	// UnmanagedAnnotation, "true" on a MSSQLServer, has the provisioner leave it alone.
	UnmanagedAnnotation = "devcluster.gitrota.dev/unmanaged"
	// FaultsAnnotation, on a pod, has its SQL Server misbehave: the JSON of mssqltest.Faults.
	FaultsAnnotation = "devcluster.gitrota.dev/faults"
	// FaultsCondition, of a pod, has in its message the annotation that its SQL Server obeys: whoever has changed the
	// annotation waits for it.
	FaultsCondition = "devcluster.gitrota.dev/faults"
	// StopDelayAnnotation, on a pod, is how long it takes to go after its server has stopped, such as "35s". Without
	// it a pod goes at once.
	StopDelayAnnotation = "devcluster.gitrota.dev/stop-delay"
)

// Annotations of a MSSQLServer that is an availability group.
const (
	// ContainedAnnotation, "true", gives the group logins of its own. It has to be there from the beginning.
	ContainedAnnotation = "devcluster.gitrota.dev/contained"
	// SyncDelayAnnotation is how long a replica needs to be in step with the primary after its start, such as "3s". It
	// is obeyed by pods that start after it was set.
	SyncDelayAnnotation = "devcluster.gitrota.dev/sync-delay"
	// PrimaryAnnotation names a pod that is to become the primary: a failover, once for each time that it changes, as
	// soon as the pod can.
	PrimaryAnnotation = "devcluster.gitrota.dev/primary"
	// GroupAnnotation is on the pods of a group: the JSON of Group. It is the provisioner's to write.
	GroupAnnotation = "devcluster.gitrota.dev/availability-group"
)
