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
