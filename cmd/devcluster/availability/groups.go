// Package availability keeps the availability groups of a devcluster's databases. Who runs the pods has their servers
// join, and who stands in for KubeDB asks which one is the primary and moves it.
//
// Membership and, in a contained group, its logins live as long as the process: after a devcluster was started again on
// old volumes, the first pod makes its group anew.
package availability

import (
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// Groups are those of all databases. The methods may be called by several goroutines at once. The zero value has none.
type Groups struct {
	mu    sync.Mutex
	known map[types.UID]*group // by database
}

type group struct {
	*mssqltest.Group
	servers map[string]*mssqltest.Server // by pod, the last one under that name
	obeyed  string                       // the failover that was asked for last and carried out
}

// For returns the group that a pod's server has to join when it starts, or why it cannot yet.
func (g *Groups) For(spec kubedb.Group, pod string) (*mssqltest.Group, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.known[spec.Database]
	if pod != spec.First && (own == nil || len(own.servers) == 0) {
		return nil, fmt.Errorf("the availability group %s is not there yet; %s makes it", spec.Name, spec.First)
	}
	if own == nil {
		own = &group{
			Group:   mssqltest.NewGroup(spec.Name, spec.Contained, spec.Databases...),
			servers: map[string]*mssqltest.Server{},
		}
		if g.known == nil {
			g.known = map[types.UID]*group{}
		}
		g.known[spec.Database] = own
	}
	own.Group.Primary() // who comes back finds that another took over, also if nobody has asked meanwhile
	return own.Group, nil
}

// Joined notes which server a pod has. It has joined the group that For returned.
func (g *Groups) Joined(spec kubedb.Group, pod string, server *mssqltest.Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[spec.Database].servers[pod] = server
}

// Primary is the pod whose server is the primary; empty while there is none.
func (g *Groups) Primary(database types.UID) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.known[database]
	if own == nil {
		return ""
	}
	primary := own.Group.Primary()
	for pod, server := range own.servers {
		if server == primary {
			return pod
		}
	}
	return ""
}

// Failover makes a pod's server the primary, once for each time that another pod is asked for. Afterwards the primary
// goes where the group takes it. An empty pod asks for nothing.
func (g *Groups) Failover(database types.UID, pod string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.known[database]
	if own == nil || pod == own.obeyed {
		return nil
	}
	if pod != "" {
		server := own.servers[pod]
		if server == nil {
			return fmt.Errorf("%s cannot become primary: there is no such replica", pod)
		}
		if err := own.Group.Failover(server); err != nil {
			return err
		}
	}
	own.obeyed = pod
	return nil
}

// Keep has every server leave whose pod is not among these: the database was scaled down.
func (g *Groups) Keep(database types.UID, pods []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.known[database]
	if own == nil {
		return
	}
	for pod, server := range own.servers {
		if !slices.Contains(pods, pod) {
			own.Group.Leave(server)
			delete(own.servers, pod)
		}
	}
}
