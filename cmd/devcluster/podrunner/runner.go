// Package podrunner stands in the place of the scheduler and of the kubelet: it binds every pod to the one node of a
// devcluster and runs it. A container named "mssql" is a SQL Server stand-in inside this process, which listens on port
// 1433 of a loopback address that is the pod's own; any other container is said to run, and nothing runs. The servers of
// a database that is an availability group are members of one.
//
// What matters to somebody who changes passwords is as it is with a kubelet: the environment and the mounted Secrets are
// read when a container starts and not again, the data is on a volume that outlives the pod, a pod that is evicted or
// deleted stops its server first and is then gone, and a devcluster that was killed starts its pods again as a node does
// after a power cut.
//
// A readiness or liveness probe of a SQL Server that calls sqlcmd is a login with the environment of the container, so
// that it fails from the change of a password until the container is started again; it is what makes a pod Ready, and
// starts the container again. Any other probe looks whether the server listens. Startup probes are not run.
package podrunner

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/gitrota/gitrota/cmd/devcluster/availability"
	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/cmd/devcluster/work"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

const (
	workers       = 8               // pods that are started or stopped at the same time
	probeInterval = 2 * time.Second // between two looks at whether a server listens
	firstRetry    = 50 * time.Millisecond
	lastRetry     = 5 * time.Second
)

// Runner runs pods.
type Runner struct {
	client     kubernetes.Interface
	pods       corelisters.PodLister
	claims     corelisters.PersistentVolumeClaimLister
	groups     *availability.Groups
	addresses  *addresses
	volumesDir string
	scratchDir string
	queue      *work.Queue
	log        *slog.Logger

	mu        sync.Mutex
	instances map[types.NamespacedName]*instance
}

// instance is a pod that was started here. Only the one worker that has the pod's key uses it.
type instance struct {
	uid       types.UID
	address   netip.Addr
	server    *mssqltest.Server // nil while there is none
	readiness probe             // of that server
	liveness  probe
	scratch   string    // the folder that goes with the pod; empty for none
	faults    string    // the annotation that the server obeys
	startedAt time.Time // to the second, as the API server keeps it
	restarts  int32
	failure   *startFailure // of the last start; nil when it went well
	failures  int           // in a row
	retryAt   time.Time     // after a failure
	stoppedAt time.Time
}

// NewRunner returns a runner that is at work once the informers and Run are. It keeps the data of pods under dir:
// volumes/<namespace>/<claim>, and pods/<uid> for those without a claim.
func NewRunner(client kubernetes.Interface, factory informers.SharedInformerFactory, groups *availability.Groups, dir string, log *slog.Logger) (*Runner, error) {
	pods := factory.Core().V1().Pods()
	r := &Runner{
		client:     client,
		pods:       pods.Lister(),
		claims:     factory.Core().V1().PersistentVolumeClaims().Lister(),
		groups:     groups,
		addresses:  newAddresses(),
		volumesDir: filepath.Join(dir, "volumes"),
		scratchDir: filepath.Join(dir, "pods"),
		log:        log,
		instances:  map[types.NamespacedName]*instance{},
	}
	r.queue = work.NewQueue("run a pod", r.sync, log)
	return r, r.queue.Watch(pods.Informer(), nil)
}

// Run works until ctx ends, and then stops the servers. The pods stay as they are, to be started again.
func (r *Runner) Run(ctx context.Context) {
	r.queue.Run(ctx, workers)
	for _, in := range r.instances {
		r.stop(in)
	}
}

func (r *Runner) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	pod, err := r.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		r.forget(key)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	in := r.instance(key)
	if in != nil && in.uid != pod.UID {
		r.forget(key)
		in = nil
	}
	switch {
	case pod.DeletionTimestamp != nil:
		return r.end(ctx, pod, in)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		r.forget(key)
		return 0, nil
	case pod.Spec.NodeName == "":
		return 0, r.schedule(ctx, pod)
	case in == nil:
		in = r.admit(key, pod)
	}
	return r.keep(ctx, pod, in)
}

// schedule gives the pod to the only node there is.
func (r *Runner) schedule(ctx context.Context, pod *corev1.Pod) error {
	if len(pod.Spec.SchedulingGates) > 0 {
		return nil
	}
	err := r.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: NodeName},
	}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone or was bound; either is an event to come
	}
	return err
}

// keep starts the pod's server where it does not run, and reports how the pod is.
func (r *Runner) keep(ctx context.Context, pod *corev1.Pod, in *instance) (time.Duration, error) {
	seen := observed{ready: true}
	again := time.Duration(0)
	if container := sqlServer(pod); container != nil {
		if in.server == nil && !time.Now().Before(in.retryAt) {
			r.start(ctx, pod, container, in)
		}
		if err := applyFaults(pod, in); err != nil {
			return 0, err
		}
		if in.server != nil && !in.liveness.ask(ctx, time.Now()) {
			r.log.Info("a liveness probe has failed", "pod", pod.Namespace+"/"+pod.Name)
			r.stop(in)
			in.restarts++
			r.start(ctx, pod, container, in)
		}
		seen.failure, seen.ready = in.failure, in.server != nil && in.readiness.ask(ctx, time.Now())
		seen.faults, again = in.faults, in.liveness.within(in.readiness.within(probeInterval, time.Now()), time.Now())
		if in.server == nil {
			again = time.Until(in.retryAt)
		}
	}
	seen.address, seen.startedAt, seen.restarts = in.address.String(), in.startedAt, in.restarts
	return again, r.report(ctx, pod, seen)
}

// start tries to start the server, and says when to try again where that failed.
func (r *Runner) start(ctx context.Context, pod *corev1.Pod, container *corev1.Container, in *instance) {
	in.failure = r.startServer(ctx, pod, container, in)
	in.startedAt = time.Now().Truncate(time.Second)
	in.stoppedAt = time.Time{}
	if in.failure == nil {
		in.failures = 0
		return
	}
	in.retryAt = time.Now().Add(min(firstRetry<<min(in.failures, 10), lastRetry))
	in.failures++
	if in.failure.reason == crashedSoon {
		in.restarts++
	}
}

// report writes the pod's status, when it has changed.
func (r *Runner) report(ctx context.Context, pod *corev1.Pod, seen observed) error {
	status := podStatus(pod, seen, time.Now())
	if sameStatus(pod.Status, status) {
		return nil
	}
	if seen.failure != nil && seen.failure.reason != notYet {
		r.log.Warn("a pod does not start", "pod", pod.Namespace+"/"+pod.Name, "reason", seen.failure.reason, "error", seen.failure.err)
	}
	changed := pod.DeepCopy()
	changed.Status = status
	_, err := r.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil // an event to come
	}
	return err
}

// end stops the server and then lets the pod go: at once, or after the delay that its annotation asks for.
func (r *Runner) end(ctx context.Context, pod *corev1.Pod, in *instance) (time.Duration, error) {
	if in != nil {
		r.stop(in)
		delay, err := time.ParseDuration(pod.Annotations[kubedb.StopDelayAnnotation])
		if err == nil && time.Since(in.stoppedAt) < delay {
			return delay - time.Since(in.stoppedAt), nil
		}
	}
	// Without a grace period: this is the kubelet's word that nothing of the pod runs any more.
	err := r.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64),
		Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return 0, nil // it is gone, and another may be there under its name
	}
	return 0, err
}

// stop stops the server, which may have stopped already.
func (r *Runner) stop(in *instance) {
	if in.server != nil {
		if err := in.server.Close(); err != nil {
			r.log.Warn("a SQL Server did not stop well", "address", in.address.String(), "error", err)
		}
		in.server = nil
	}
	if in.stoppedAt.IsZero() {
		in.stoppedAt = time.Now()
	}
}

// admit makes room for a pod that does not run here. Its status may say that it has run, before this process did.
func (r *Runner) admit(key types.NamespacedName, pod *corev1.Pod) *instance {
	in := &instance{uid: pod.UID, address: r.addresses.take(), startedAt: time.Now().Truncate(time.Second)}
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == kubedb.Container && status.ContainerID != "" {
			in.restarts = status.RestartCount + 1
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instances[key] = in
	return in
}

// forget drops what there is of a pod that is no more.
func (r *Runner) forget(key types.NamespacedName) {
	in := r.instance(key)
	if in == nil {
		return
	}
	r.stop(in)
	r.addresses.giveBack(in.address)
	if in.scratch != "" {
		if err := os.RemoveAll(in.scratch); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("cannot remove the folder of a pod that is gone", "error", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.instances, key)
}

func (r *Runner) instance(key types.NamespacedName) *instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.instances[key]
}

// sqlServer is the container that is SQL Server, or nil.
func sqlServer(pod *corev1.Pod) *corev1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == kubedb.Container {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}
