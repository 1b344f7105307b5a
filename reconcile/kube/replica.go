package kube

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

const portServer = 1433

// podReplica reads what a rotation needs of a pod.
func podReplica(target reconcile.Target, p *corev1.Pod) reconcile.Replica {
	replica := reconcile.Replica{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID),
		Endpoint:     endpoint(target, p.Name, podServerName(target, p)),
		Primary:      target.KubeDB() && p.Labels[labelRole] == rolePrimary,
		Ending:       p.DeletionTimestamp != nil,
		Pod:          true,
		PasswordFrom: environmentSecrets(&p.Spec),
	}
	if p.Status.PodIP != "" {
		port := portServer
		if target.Spec != nil {
			port = cmp.Or(target.Spec.Port, portServer)
		}
		replica.Endpoint.Address = net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port))
	}
	replica.Ready = ready(p)
	return replica
}

func ready(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// endpointReplica is a server outside of the cluster, of which no more is known than its address.
func endpointReplica(target reconcile.Target, address string) reconcile.Replica {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address // opening it fails and says why
	}
	replica := reconcile.Replica{
		Namespace: target.Namespace, Name: address, UID: "endpoint/" + address,
		Endpoint: endpoint(target, address, host),
		Ready:    true,
	}
	replica.Endpoint.Address = address
	return replica
}

// endpoint is how any replica of the target is reached, but for its address. The name in its certificate is the one that
// the document gives to all, or its own.
func endpoint(target reconcile.Target, name, serverName string) mssql.Endpoint {
	e := mssql.Endpoint{Name: name, TLS: target.TLS}
	e.TLS.ServerName = serverName
	if target.Spec != nil {
		e.Database, e.Contained = target.Spec.ContainedDatabase, target.Spec.ContainedDatabase != ""
		e.TLS.ServerName = cmp.Or(target.Spec.TLS.ServerName, serverName)
	}
	return e
}

// podServerName is the name under which a pod is known in the cluster, or its address if it has none.
func podServerName(target reconcile.Target, p *corev1.Pod) string {
	switch {
	case target.KubeDB():
		return fmt.Sprintf("%s.%s-pods.%s.svc", p.Name, target.Name, p.Namespace)
	case p.Spec.Hostname != "" && p.Spec.Subdomain != "":
		return fmt.Sprintf("%s.%s.%s.svc", p.Spec.Hostname, p.Spec.Subdomain, p.Namespace)
	}
	return p.Status.PodIP
}

// byOrdinal sorts by name, and what differs in the number at its end only by that number: db-2 comes before db-10.
func byOrdinal(a, b reconcile.Replica) int {
	aSet, aOrdinal := splitOrdinal(a.Name)
	bSet, bOrdinal := splitOrdinal(b.Name)
	return cmp.Or(strings.Compare(aSet, bSet), cmp.Compare(aOrdinal, bOrdinal), strings.Compare(a.Name, b.Name))
}

func splitOrdinal(name string) (set string, ordinal int) {
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		if n, err := strconv.Atoi(name[i+1:]); err == nil {
			return name[:i], n
		}
	}
	return name, -1
}
