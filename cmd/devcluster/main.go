// What SQL Server makes for itself is readable with it: see cmd/gitrota/main.go.
//go:debug x509negativeserial=1

// Devcluster is a Kubernetes cluster in one program, for gitrota's tests and its demonstration, on a machine without
// containers: a real etcd, kube-apiserver and kube-controller-manager, a stand-in for what KubeDB does with a
// MSSQLServer, and pods that run a SQL Server stand-in. See `devcluster --help`.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

const help = `Devcluster is a Kubernetes cluster in one program, for tests and demonstrations.

  devcluster up --dir DIR    start a cluster and stay with it
  devcluster kubectl ...     kubectl, as you know it

A first cluster:

  devcluster up --dir /tmp/cluster &
  export KUBECONFIG=/tmp/cluster/kubeconfig
  devcluster kubectl create namespace demo
  devcluster kubectl apply -f mssqlserver-quickstart.yaml
  devcluster kubectl get mssqlserver -n demo -w

What is real: etcd, the API server with its admission and RBAC, and the controllers of StatefulSets, Deployments,
disruption budgets, service accounts, namespaces and garbage. What stands in for something else: the one node, whose
pods do not run anything except that a container named "mssql" is a SQL Server stand-in on port 1433 of the pod's IP,
an address of this machine's loopback; and KubeDB, of which the kinds MSSQLServer and MSSQLServerOpsRequest are there
and the provisioner, but nothing that would carry out a MSSQLServerOpsRequest. Services lead nowhere: Kubernetes allows
no loopback addresses as endpoints, so connect to the IP of a pod.

A readiness or liveness probe of a container "mssql" that calls sqlcmd, as in sh -c 'sqlcmd -U sa -P "$MSSQL_SA_PASSWORD"
-S localhost -Q "SELECT 1"', is a login with the environment that the container was started with. Any other probe looks
whether the server listens.

Annotations, of a MSSQLServer for all its pods, or of one pod:

  devcluster.gitrota.dev/faults       the SQL Server misbehaves, at once: the JSON of mssqltest.Faults,
                                      such as {"refuseConnections": true}; the pod's condition of this
                                      name has in its message what is in force
  devcluster.gitrota.dev/stop-delay   how long a pod takes to go after its server has stopped, such as 35s
  devcluster.gitrota.dev/unmanaged    "true" on a MSSQLServer: the provisioner leaves it alone

The pods of a MSSQLServer whose topology is AvailabilityGroup are one. Annotations of such a MSSQLServer:

  devcluster.gitrota.dev/primary      the pod that becomes the primary now, such as db-1
  devcluster.gitrota.dev/sync-delay   how long a pod that starts from now on needs to be in step, such as 3s
  devcluster.gitrota.dev/contained    "true" from the beginning: the group has logins of its own

The parts are there under their own names too, with their own --help: devcluster etcd, devcluster kube-apiserver,
devcluster kube-controller-manager.

` + upUsage

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, help)
		os.Exit(2)
	}
	name, args := os.Args[1], os.Args[1:]
	switch name {
	case "up":
		os.Exit(up(args[1:]))
	case "etcd":
		etcdmain.Main(args)
	case "kube-apiserver":
		os.Args = args
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Args = args
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	case "kubectl":
		os.Args = args
		os.Exit(cli.Run(kubectl.NewDefaultKubectlCommand()))
	case "help", "-h", "-help", "--help":
		fmt.Print(help)
	default:
		fmt.Fprintf(os.Stderr, "devcluster: there is no command %q; see devcluster --help\n", name)
		os.Exit(2)
	}
}
