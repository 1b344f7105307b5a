package availability

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

var spec = kubedb.Group{Database: "u1", Name: "db", First: "db-0", Databases: []string{"orders"}}

// join starts a pod's server as the one who runs pods does.
func join(t *testing.T, groups *Groups, pod string, delay time.Duration) *mssqltest.Server {
	t.Helper()
	group, err := groups.For(spec, pod)
	require.NoError(t, err)
	server, err := mssqltest.Start(mssqltest.Options{
		SAPassword: credential.NewPassword("Str0ngEnough"), ServerName: pod, Group: group, SyncDelay: delay,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	groups.Joined(spec, pod, server)
	return server
}

func TestTheFirstPodMakesTheGroupAndIsItsPrimary(t *testing.T) {
	var groups Groups
	_, err := groups.For(spec, "db-1")
	require.EqualError(t, err, "the availability group db is not there yet; db-0 makes it")
	require.Empty(t, groups.Primary("u1"))
	join(t, &groups, "db-0", 0)
	join(t, &groups, "db-1", 0)
	require.Equal(t, "db-0", groups.Primary("u1"))
	require.Empty(t, groups.Primary("u2"), "another database has another group")
}

func TestAPrimaryThatEndsIsReplacedAndComesBackAsASecondary(t *testing.T) {
	var groups Groups
	first := join(t, &groups, "db-0", 0)
	join(t, &groups, "db-1", 0)
	require.NoError(t, first.Close())
	require.Equal(t, "db-1", groups.Primary("u1"))
	join(t, &groups, "db-0", 0)
	require.Equal(t, "db-1", groups.Primary("u1"))
}

func TestAFailoverIsCarriedOutOnceForEachTimeItIsAskedFor(t *testing.T) {
	var groups Groups
	join(t, &groups, "db-0", 0)
	second := join(t, &groups, "db-1", 0)
	require.ErrorContains(t, groups.Failover("u1", "db-7"), "there is no such replica")
	require.NoError(t, groups.Failover("u1", "db-1"))
	require.Equal(t, "db-1", groups.Primary("u1"))

	require.NoError(t, second.Close())
	join(t, &groups, "db-1", 0)
	require.NoError(t, groups.Failover("u1", "db-1"), "asked for and done before")
	require.Equal(t, "db-0", groups.Primary("u1"))
	require.NoError(t, groups.Failover("u1", ""))
	require.NoError(t, groups.Failover("u1", "db-1"))
	require.Equal(t, "db-1", groups.Primary("u1"))
}

func TestAReplicaThatIsNotInStepDoesNotBecomePrimary(t *testing.T) {
	var groups Groups
	first := join(t, &groups, "db-0", 0)
	join(t, &groups, "db-1", time.Hour)
	require.Error(t, groups.Failover("u1", "db-1"))
	require.NoError(t, first.Close())
	require.Empty(t, groups.Primary("u1"))
}

func TestAReplicaThatIsNotWantedAnyMoreLeaves(t *testing.T) {
	var groups Groups
	join(t, &groups, "db-0", 0)
	join(t, &groups, "db-1", 0)
	groups.Keep("u1", []string{"db-1"})
	require.Equal(t, "db-1", groups.Primary("u1"))
	require.ErrorContains(t, groups.Failover("u1", "db-0"), "there is no such replica")
}
