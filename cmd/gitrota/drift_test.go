package main

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// shop is a server outside of the cluster whose login app is changed by an administrator. It is so slow that somebody
// who interferes with a rotation comes in the middle of it.
func (w *world) shop(name string) (s *outside, manifest string) {
	w.Helper()
	s = w.outside(name)
	w.keep(name+"-auth", s.login("app"))
	w.keep(name+"-admin", s.Admin)
	s.StandIn().SetFaults(mssqltest.Faults{Latency: mssqltest.Duration(150 * time.Millisecond)})
	return s, w.document(name, s.at(), authSecret(name), trusted, "admin: {name: "+name+"-admin}")
}

// write puts a credential into a Secret as somebody else does, under a name of his own.
func (w *world) write(ctx context.Context, writer, secret string, c credential.Credential) error {
	secrets := w.cluster.Client.CoreV1().Secrets(w.namespace)
	s, err := secrets.Get(ctx, secret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	s.Data["username"], s.Data["password"] = []byte(c.Username), []byte(c.Password.Reveal())
	_, err = secrets.Update(ctx, s, metav1.UpdateOptions{FieldManager: writer})
	return err
}

// restorer is a GitOps tool that has the old credential in its manifests and writes it back whenever it is changed, so
// many times at most. It returns how often it has.
func (w *world) restorer(secret string, times int32) *atomic.Int32 {
	w.Helper()
	old := w.kept(secret)
	var written atomic.Int32
	w.onChange(secret, func(ctx context.Context, _ watch.EventType, s *corev1.Secret) {
		if s.Data != nil && string(s.Data["password"]) != old.Password.Reveal() && written.Load() < times && w.write(ctx, "argocd-controller", secret, old) == nil {
			written.Add(1)
		}
	})
	return &written
}

// onChange calls do for each change of a Secret until the test ends.
func (w *world) onChange(secret string, do func(context.Context, watch.EventType, *corev1.Secret)) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	changes, err := w.cluster.Client.CoreV1().Secrets(w.namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + secret})
	require.NoError(w.T, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range changes.ResultChan() {
			if s, ok := event.Object.(*corev1.Secret); ok {
				do(ctx, event.Type, s)
			}
		}
	}()
	w.Cleanup(func() {
		cancel()
		changes.Stop()
		<-done
	})
}

// requireOneTruth checks that the server, the auth Secret and the keeper agree on the credential of a server at rest.
func (w *world) requireOneTruth(s *outside) {
	w.Helper()
	live := w.kept(s.name + "-auth")
	require.True(w.T, s.lets(live), "the auth Secret opens the server")
	keeper := w.secret(s.name + "-auth-keeper")
	require.Empty(w.T, keeper.Data["next.password"])
	require.Equal(w.T, live, w.kept(s.name+"-auth-keeper", "live.username", "live.password"))
}

func TestASecretThatIsRestoredInTheMiddleOfARotationIsPublishedOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.shop("once")
	before := w.kept("once-auth")
	written := w.restorer("once-auth", 1)
	w.repo.Commit(map[string]string{"rotations/r.yaml": document + "---\n" + w.request("r", "once")}, "Rotate once")
	require.Equal(t, 0, w.once("--allow-hosts", "127.0.0.1"))

	require.EqualValues(t, 1, written.Load())
	r := w.status("r")
	require.Equal(t, "Successful", r.phase())
	require.Equal(t, "argocd-controller overwrote the new credential in the Secret "+w.namespace+"/once-auth; it is published once more, and once only", r.condition("AuthSecretOverwritten").Message)
	require.NotEqual(t, before, w.kept("once-auth"))
	require.Equal(t, before, w.kept("once-auth", "username.prev", "password.prev"))
	require.Equal(t, 1, s.StandIn().PasswordChanges("app"))
	w.requireOneTruth(s)
}

func TestAWriterWhoAlwaysRestoresTheSecretIsNotFoughtWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.shop("forever")
	before := w.kept("forever-auth")
	written := w.restorer("forever-auth", 1000)
	w.repo.Commit(map[string]string{"rotations/r.yaml": document + "---\n" + w.request("r", "forever")}, "Rotate forever")
	agent := w.agent("--allow-hosts", "127.0.0.1", "--patrol-interval", "1s")
	r := w.ended("r")

	require.Equal(t, "Failed", r.phase())
	require.Equal(t, "AuthSecretOverwritten", r.condition("Failed").Reason)
	require.Equal(t, "the Secret "+w.namespace+"/forever-auth was overwritten by argocd-controller after the new credential had been published, and again after it was repaired once; "+
		"keep that writer off the Secret: take its data out of that tool's manifests, or let it ignore them", r.why())
	require.Equal(t, "True", r.condition("RolledBack").Status)
	w.overwritten("False", "holds the live credential") // which is the old one
	agent.requireIdle(0)
	require.EqualValues(t, 2, written.Load(), "the promotion and its repetition")
	require.Equal(t, before, w.kept("forever-auth"), "that writer has it as he wants it")
	w.requireOneTruth(s)
	require.Equal(t, 2, s.StandIn().PasswordChanges("app"), "there and back")
	require.Equal(t, 0, agent.terminate())
}

func TestASecretOrKeeperThatIsDeletedInTheMiddleOfARotationComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stories := []struct {
		name, watched, deleted string
		when                   func(*corev1.Secret) bool
	}{
		{"keeper-when-staged", "-auth-keeper", "-auth-keeper", func(s *corev1.Secret) bool { return s.Data["next.password"] != nil }},
		{"keeper-when-promoted", "-auth", "-auth-keeper", func(s *corev1.Secret) bool { return s.Data["password.prev"] != nil }},
		{"secret-when-staged", "-auth-keeper", "-auth", func(s *corev1.Secret) bool { return s.Data["next.password"] != nil }},
		{"secret-when-promoted", "-auth", "-auth", func(s *corev1.Secret) bool { return s.Data["password.prev"] != nil }},
	}
	files, servers, deleted := map[string]string{}, map[string]*outside{}, map[string]*atomic.Int32{}
	for _, story := range stories {
		s, document := w.shop(story.name)
		once := new(atomic.Int32)
		servers[story.name], deleted[story.name] = s, once
		files["rotations/"+story.name+".yaml"] = document + "---\n" + w.request(story.name, story.name)
		w.onChange(story.name+story.watched, func(ctx context.Context, kind watch.EventType, s *corev1.Secret) {
			if kind != watch.Deleted && once.Load() == 0 && story.when(s) {
				once.Add(1)
				w.cluster.Client.CoreV1().Secrets(w.namespace).Delete(ctx, story.name+story.deleted, metav1.DeleteOptions{})
			}
		})
	}
	w.repo.Commit(files, "Rotate all")
	require.Equal(t, 0, w.once("--allow-hosts", "127.0.0.1"))
	for _, story := range stories {
		require.EqualValues(t, 1, deleted[story.name].Load(), story.name)
		require.Equal(t, "Successful", w.status(story.name).phase(), story.name)
		require.Equal(t, 1, servers[story.name].StandIn().PasswordChanges("app"), story.name)
		w.requireOneTruth(servers[story.name])
	}
}

func TestARotationSurvivesAnAPIServerThatIsGoneAfterEachWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db", "timeout: 20s")}, "Rotate db")
	var goneUntil atomic.Int64
	var outages atomic.Int32
	proxy := w.apiFront(func(rw http.ResponseWriter, _ *http.Request) bool {
		gone := time.Now().UnixNano() < goneUntil.Load()
		if gone {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		return !gone
	}, func(r *http.Response) {
		asks, tells := strings.HasSuffix(r.Request.URL.Path, "/selfsubjectaccessreviews"), strings.HasSuffix(r.Request.URL.Path, "/events")
		if r.Request.Method != http.MethodGet && !asks && !tells {
			outages.Add(1)
			goneUntil.Store(time.Now().Add(700 * time.Millisecond).UnixNano())
		}
	})
	agent := w.start(append(w.argsThrough(proxy), "--once")...)
	require.Equal(t, 0, agent.wait())
	require.GreaterOrEqual(t, int(outages.Load()), len(writes))
	require.Contains(t, agent.log(), "waiting for the Kubernetes API")
	w.requireOneRotation("r")
}

func TestANamespaceThatIsDeletedInTheMiddleOfARotationEndsItAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := &world{T: t, cluster: w.cluster, namespace: w.namespace + "-gone", git: w.git, repo: w.repo, secrets: w.secrets}
	w.cluster.Kubectl(t, "create", "namespace", other.namespace)
	s, document := other.shop("doomed")
	known := other.live("doomed")
	// The namespace is gone by the time the server has changed the password.
	s.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Delay: mssqltest.Duration(8 * time.Second), Times: 1}}})
	other.onChange("doomed-auth-keeper", func(context.Context, watch.EventType, *corev1.Secret) {
		w.cluster.Client.CoreV1().Namespaces().Delete(context.Background(), other.namespace, metav1.DeleteOptions{})
	})
	_, healthy := w.shop("healthy")
	w.repo.Commit(map[string]string{
		"rotations/doomed.yaml":  document + "---\n" + other.request("doomed", "doomed", "timeout: 20s"),
		"rotations/healthy.yaml": healthy + "---\n" + w.request("healthy", "healthy"),
	}, "Rotate both")
	agent := w.agent("--allow-hosts", "127.0.0.1")
	require.Equal(t, "Successful", w.ended("healthy").phase())
	doomed := other.ended("doomed")
	require.Equal(t, "Failed", doomed.phase())
	require.Equal(t, "NamespaceTerminating", doomed.condition("Failed").Reason, doomed.why())
	require.Contains(t, doomed.why(), "creating the Secret "+other.namespace+"/doomed-auth-keeper")
	require.Equal(t, 2, s.StandIn().PasswordChanges("app"), "there and back: what was staged is nowhere any more")
	require.NoError(t, s.Open(t, known).PingContext(t.Context()))
	agent.requireIdle(0)
	require.Equal(t, 0, agent.terminate())
}
