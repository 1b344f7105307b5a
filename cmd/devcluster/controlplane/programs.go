package controlplane

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is one of the control plane's programs: how to run it, before its flags.
type program struct {
	command []string
	builtIn bool
}

func (p program) describe() string {
	if p.builtIn {
		return "built in"
	}
	return p.command[0]
}

// findProgram looks for a prebuilt program in $KUBEBUILDER_ASSETS and in $PATH. The controller manager is always our
// own: setup-envtest has none, and it must not be older than the API server.
func findProgram(name string) program {
	// This very file even when a newer build has taken its place under the same name.
	own := program{command: []string{"/proc/self/exe", name}, builtIn: true}
	if name == "kube-controller-manager" {
		return own
	}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		if file, err := exec.LookPath(filepath.Join(assets, name)); err == nil {
			return program{command: []string{file}}
		}
	}
	if file, err := exec.LookPath(name); err == nil {
		return program{command: []string{file}}
	}
	return own
}

// controllers are those that a database on Kubernetes needs. Those of nodes are left out, since nobody renews a lease
// here, and those of endpoints, since Kubernetes refuses addresses of the loopback in them.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"cronjob-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"garbage-collector-controller",
	"job-controller",
	"namespace-controller",
	"persistentvolume-protection-controller",
	"persistentvolumeclaim-protection-controller",
	"replicaset-controller",
	"resourcequota-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
}

func etcdFlags(dir string, ports ports) []string {
	client := fmt.Sprintf("http://%s:%d", loopback, ports.EtcdClient)
	peer := fmt.Sprintf("http://%s:%d", loopback, ports.EtcdPeer)
	return []string{
		"--data-dir=" + filepath.Join(dir, "etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
}

func apiServerFlags(dir string, ports ports) []string {
	pki := func(name string) string { return filepath.Join(dir, "pki", name) }
	return []string{
		fmt.Sprintf("--etcd-servers=http://%s:%d", loopback, ports.EtcdClient),
		"--bind-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", ports.APIServer),
		"--advertise-address=" + loopback,
		"--endpoint-reconciler-type=none", // it refuses an address of the loopback
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		"--client-ca-file=" + pki("cluster-ca.crt"),
		"--tls-cert-file=" + pki("kube-apiserver.crt"),
		"--tls-private-key-file=" + pki("kube-apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki("service-accounts.key"),
		"--service-account-signing-key-file=" + pki("service-accounts.key"),
		"--allow-privileged",
		"--profiling=false",
	}
}

func controllerFlags(dir, kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--controllers=" + strings.Join(controllers, ","),
		"--leader-elect=false",
		"--secure-port=0", // it serves nothing
		"--root-ca-file=" + filepath.Join(dir, "pki", "cluster-ca.crt"),
		"--service-account-private-key-file=" + filepath.Join(dir, "pki", "service-accounts.key"),
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--profiling=false",
	}
}
