package podrunner

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// startFailure is why a container does not run, under the reason that a kubelet would give.
type startFailure struct {
	reason string
	err    error
}

const (
	notYet      = "ContainerCreating"          // a volume is not there yet
	badConfig   = "CreateContainerConfigError" // its environment cannot be made
	crashedSoon = "CrashLoopBackOff"           // SQL Server ended as soon as it was started
)

func (f *startFailure) Error() string { return f.err.Error() }

// startServer starts the pod's SQL Server with the environment and the files that are there now.
func (r *Runner) startServer(ctx context.Context, pod *corev1.Pod, container *corev1.Container, in *instance) *startFailure {
	folder, err := r.dataFolder(pod, container, in)
	if err != nil {
		return &startFailure{notYet, err}
	}
	certificate, err := r.certificate(ctx, pod, container)
	if err != nil {
		return &startFailure{notYet, err}
	}
	pod = pod.DeepCopy()
	pod.Status.PodIP = in.address.String() // for a variable that asks for it
	env, err := environment(ctx, r.client, pod, container)
	if err != nil {
		return &startFailure{badConfig, err}
	}
	faults, err := faultsOf(pod)
	if err != nil {
		return &startFailure{badConfig, err}
	}
	password := env[kubedb.PasswordEnv]
	if password == "" {
		password = env["SA_PASSWORD"] // the name that the image had for it before
	}
	options := mssqltest.Options{
		DataDir:     folder,
		SAPassword:  credential.NewPassword(password),
		ServerName:  pod.Name,
		Certificate: certificate,
		Faults:      faults,
	}
	joined, failure := r.joinGroup(pod, &options)
	if failure != nil {
		return failure
	}
	for {
		options.Addr = serverAddress(in.address)
		in.server, err = mssqltest.Start(options)
		switch {
		case err == nil:
			in.faults = pod.Annotations[kubedb.FaultsAnnotation]
			r.probe(container, env, in)
			joined(in.server)
			return nil
		case !errors.Is(err, syscall.EADDRINUSE):
			return &startFailure{crashedSoon, err}
		}
		// Another program has this address, such as another devcluster, and the pod gets another.
		r.addresses.giveBack(in.address)
		in.address = r.addresses.take()
	}
}

// joinGroup makes the server that is about to start a member of the pod's availability group, where it has one, and
// returns whom to tell that it has started.
func (r *Runner) joinGroup(pod *corev1.Pod, options *mssqltest.Options) (joined func(*mssqltest.Server), failure *startFailure) {
	spec, found, err := kubedb.GroupOf(pod)
	if err != nil {
		return nil, &startFailure{badConfig, err}
	}
	if !found {
		return func(*mssqltest.Server) {}, nil
	}
	if options.SyncDelay, err = spec.Delay(); err != nil {
		return nil, &startFailure{badConfig, err}
	}
	if options.Group, err = r.groups.For(spec, pod.Name); err != nil {
		return nil, &startFailure{notYet, err}
	}
	return func(server *mssqltest.Server) { r.groups.Joined(spec, pod.Name, server) }, nil
}

// applyFaults hands the annotation to the running server when it has changed.
func applyFaults(pod *corev1.Pod, in *instance) error {
	text := pod.Annotations[kubedb.FaultsAnnotation]
	if in.server == nil || text == in.faults {
		return nil
	}
	faults, err := faultsOf(pod)
	if err != nil {
		return err
	}
	in.server.SetFaults(faults)
	in.faults = text
	return nil
}

func faultsOf(pod *corev1.Pod) (mssqltest.Faults, error) {
	text := pod.Annotations[kubedb.FaultsAnnotation]
	if text == "" {
		return mssqltest.Faults{}, nil
	}
	faults, err := mssqltest.ParseFaults(text)
	if err != nil {
		return faults, fmt.Errorf("annotation %s: %w", kubedb.FaultsAnnotation, err)
	}
	return faults, nil
}

// dataFolder is the folder of the claim that the container mounts for its data, or one that lives as long as the pod.
func (r *Runner) dataFolder(pod *corev1.Pod, container *corev1.Container, in *instance) (string, error) {
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim == nil || !mounts(container, volume.Name, "") {
			continue
		}
		name := volume.PersistentVolumeClaim.ClaimName
		claim, err := r.claims.PersistentVolumeClaims(pod.Namespace).Get(name)
		if err != nil {
			return "", err
		}
		if !isBound(claim) {
			return "", fmt.Errorf("persistentvolumeclaim %s is not bound yet", name)
		}
		return filepath.Join(r.volumesDir, pod.Namespace, name), nil
	}
	in.scratch = filepath.Join(r.scratchDir, string(pod.UID))
	return in.scratch, os.MkdirAll(in.scratch, 0o700)
}

// certificate is that in the Secret which the container mounts where SQL Server has its certificate, and nil where it
// mounts none: then the server makes its own.
func (r *Runner) certificate(ctx context.Context, pod *corev1.Pod, container *corev1.Container) (*tls.Certificate, error) {
	for _, volume := range pod.Spec.Volumes {
		if volume.Secret == nil || !mounts(container, volume.Name, kubedb.TLSPath) {
			continue
		}
		name := volume.Secret.SecretName
		secret, err := r.client.CoreV1().Secrets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			return nil, fmt.Errorf("reading the certificate in Secret %s/%s: %w", pod.Namespace, name, err)
		}
		return &pair, nil
	}
	return nil, nil
}

// mounts reports whether the container mounts the volume at path, or anywhere where path is empty.
func mounts(container *corev1.Container, volume, path string) bool {
	for _, mount := range container.VolumeMounts {
		if mount.Name == volume && (path == "" || mount.MountPath == path) {
			return true
		}
	}
	return false
}

// probe begins with the container's probes. One that has no readiness probe is ready while its server listens.
func (r *Runner) probe(container *corev1.Container, env map[string]string, in *instance) {
	address := in.address
	listens := func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", serverAddress(address))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	runs := func(spec *corev1.Probe) func(context.Context) error {
		if spec == nil || spec.Exec == nil {
			return listens
		}
		call, known := sqlcmdOf(spec.Exec.Command, env)
		if !known {
			r.log.Warn("a probe that is not a call of sqlcmd looks whether the server listens", "container", container.Name, "pod", address)
			return listens
		}
		return func(ctx context.Context) error { return call.run(ctx, address) }
	}
	in.readiness = newProbe(container.ReadinessProbe, runs(container.ReadinessProbe), false, time.Now())
	if container.ReadinessProbe == nil {
		in.readiness.run = listens
	}
	in.liveness = newProbe(container.LivenessProbe, runs(container.LivenessProbe), true, time.Now())
}

func serverAddress(address netip.Addr) string {
	return net.JoinHostPort(address.String(), strconv.Itoa(kubedb.Port))
}
