package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// asGitrota makes this test binary behave as gitrota, so that the tests run the real command in a process of its own,
// under the race detector when they are.
const asGitrota = "GITROTA_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asGitrota) != "" {
		os.Unsetenv(asGitrota)
		os.Exit(run(os.Args[1:]))
	}
	if os.Getenv(asSqlcmd) != "" {
		os.Exit(sqlcmd(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// world is a cluster, a Git server with a repository, and the folders that an agent is started with. Every test has a
// namespace and a repository of its own. At its end, everything that gitrota wrote anywhere is searched for every
// password that was in play.
type world struct {
	*testing.T
	cluster   *kubetest.Cluster
	namespace string
	git       *gittest.Server
	repo      *gittest.Repo
	gitAuth   string
	sopsKeys  string
	recipient string   // whom users encrypt for
	histories []string // the URLs, with credentials, of the repositories that gitrota writes to

	mu      sync.Mutex
	output  bytes.Buffer // of all agents
	secrets map[credential.Password]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, kubetest.Start(t).Namespace(t))
}

// newWorldIn is a world in a namespace that somebody else makes and removes.
func newWorldIn(t *testing.T, namespace string) *world {
	t.Helper()
	w := &world{T: t, cluster: kubetest.Start(t), namespace: namespace, secrets: map[credential.Password]bool{}}
	installed(t, w.cluster)
	w.git = gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: "forge-token-1"})
	w.repo = w.git.NewRepo("rotations")
	w.repo.Commit(map[string]string{"README.md": "Our rotations.\n"}, "Begin")
	w.gitAuth = w.git.AuthDir(false)
	w.histories = []string{strings.Replace(w.repo.URL(), "://", "://gitrota:forge-token-1@", 1)}

	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	w.sopsKeys, w.recipient = t.TempDir(), identity.Recipient().String()
	require.NoError(t, os.WriteFile(filepath.Join(w.sopsKeys, "test.agekey"), []byte(identity.String()+"\n"), 0o600))
	t.Cleanup(w.searchForSecrets)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last words of the agents:\n%s", w.lastWords())
		}
	})
	return w
}

// installed applies the install manifests once, so that agents run with the rights that they grant and no others.
func installed(t *testing.T, cluster *kubetest.Cluster) {
	t.Helper()
	installOnce.Do(func() { cluster.Kubectl(t, "apply", "-k", "../../examples/install") })
}

var installOnce sync.Once

// database makes a SQL Server and waits until it is Ready.
func (w *world) database(name string, changes ...func(*unstructured.Unstructured)) {
	w.Helper()
	w.cluster.CreateMSSQLServer(w.T, w.namespace, name, changes...)
	w.remember(w.live(name).Password)
}

// request is a manifest in the words of KubeDB's guide.
func (w *world) request(name, database string, lines ...string) string {
	text := fmt.Sprintf("apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata:\n  name: %s\n  namespace: %s\nspec:\n  type: RotateAuth\n  databaseRef:\n    name: %s\n", name, w.namespace, database)
	for _, line := range lines {
		text += "  " + line + "\n"
	}
	return text
}

// basicAuth is the manifest of a Secret as kubectl would print it, in the clear.
func (w *world) basicAuth(name, username, password string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\ntype: kubernetes.io/basic-auth\nstringData:\n  username: %s\n  password: %s\n", name, w.namespace, username, password)
}

// encrypt does what a user does with sops.
func (w *world) encrypt(manifest string) string {
	w.Helper()
	encrypted, err := sopsfile.Encrypt([]byte(manifest), []string{w.recipient}, "^(data|stringData)$")
	require.NoError(w.T, err)
	return string(encrypted)
}

// remember notes a password that must not be found anywhere.
func (w *world) remember(p credential.Password) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[p] = true
}

// secret reads a Secret; nil if there is none.
func (w *world) secret(name string) *corev1.Secret {
	w.Helper()
	secret, err := w.cluster.Client.CoreV1().Secrets(w.namespace).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	for key, value := range secret.Data {
		if strings.Contains(key, "password") {
			w.remember(credential.NewPassword(string(value)))
		}
	}
	return secret
}

// keeps reports whether the keeper of a database holds a credential. It may note, beside, which requests have ended.
func (w *world) keeps(database string) bool {
	w.Helper()
	keeper := w.secret(database + "-auth-keeper")
	return keeper != nil && len(keeper.Data["next.password"])+len(keeper.Data["live.password"]) > 0
}

// live is the credential in the auth Secret of a database, and previous the one that it replaced.
func (w *world) live(database string) credential.Credential {
	w.Helper()
	secret := w.secret(database + "-auth")
	require.NotNil(w.T, secret, "the auth Secret of %s", database)
	return credential.Credential{Username: string(secret.Data["username"]), Password: credential.NewPassword(string(secret.Data["password"]))}
}

func (w *world) previous(database string) credential.Credential {
	w.Helper()
	secret := w.secret(database + "-auth")
	return credential.Credential{Username: string(secret.Data["username.prev"]), Password: credential.NewPassword(string(secret.Data["password.prev"]))}
}

// pod is the one that the database's server runs in.
func (w *world) pod(database string) *corev1.Pod {
	w.Helper()
	pod, err := w.cluster.Client.CoreV1().Pods(w.namespace).Get(w.Context(), database+"-0", metav1.GetOptions{})
	require.NoError(w.T, err)
	return pod
}

// annotatePod writes one of the annotations that devcluster obeys to the database's pod. Its successor will not have it.
func (w *world) annotatePod(database, name, value string) {
	w.Helper()
	w.cluster.Kubectl(w.T, "-n", w.namespace, "annotate", "--overwrite", "pod", database+"-0", "devcluster.gitrota.dev/"+name+"="+value)
}

// opens tries a credential on the database's server with a real login.
func (w *world) opens(database string, login credential.Credential) bool {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	session, err := mssql.Open(ctx, mssql.Endpoint{Name: database, Address: w.pod(database).Status.PodIP + ":1433", TLS: mssql.TLS{Any: true}}, login)
	if err != nil {
		require.ErrorContains(w.T, err, "18456")
		return false
	}
	session.Close()
	return true
}

// errorlog is what the database's server has written about logins and changes.
func (w *world) errorlog(database string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.cluster.Volume(w.namespace, "data-"+database+"-0"), "log", "errorlog"))
	require.NoError(w.T, err)
	return string(text)
}

// passwordChanges counts the ALTER LOGINs that took effect, failedLogins the logins that were refused, but for those of
// the pod's own probe.
func (w *world) passwordChanges(database string) int {
	return len(passwordChanged.FindAllString(w.errorlog(database), -1))
}

func (w *world) failedLogins(database string) int {
	return len(refusedOutside.FindAllString(w.errorlog(database), -1))
}

// refusedOutside is the errorlog's line about a wrong password (18456) that came from outside of the pod, whose own address
// is another one.
var refusedOutside = regexp.MustCompile(`Reason: Password did not match that for the login provided\. \[CLIENT: 127\.0\.0\.1\]`)

var passwordChanged = regexp.MustCompile(`Password of login .sa. was changed`)

// faults makes the server in the database's pod misbehave; "{}" heals it.
func (w *world) faults(database, json string) {
	w.Helper()
	w.annotatePod(database, "faults", json)
	w.faulty(database, json)
}

// faulty waits until the database's server has these faults.
func (w *world) faulty(database, json string) {
	w.Helper()
	w.eventually(database+" has the faults "+json, func() bool {
		return slices.ContainsFunc(w.pod(database).Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == "devcluster.gitrota.dev/faults" && c.Message == json
		})
	})
}

// status is what the repository says about a request; the zero value if there is no status file.
type status struct {
	Metadata struct{ Annotations map[string]string }
	Status   struct {
		Phase      string
		Conditions []reconcile.Condition
	}
}

func (w *world) statusPath(request string) string {
	return "rotation-status/" + w.namespace + "/" + request + ".yaml"
}

func (w *world) status(request string) status {
	w.Helper()
	var s status
	for _, file := range w.repo.Files() {
		if file == w.statusPath(request) {
			require.NoError(w.T, yaml.Unmarshal([]byte(w.repo.Show(file)), &s))
		}
	}
	return s
}

func (s status) phase() string { return s.Status.Phase }

// types lists the conditions in their order.
func (s status) types() []string {
	var types []string
	for _, c := range s.Status.Conditions {
		types = append(types, c.Type)
	}
	return types
}

func (s status) condition(kind string) reconcile.Condition {
	for _, c := range s.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return reconcile.Condition{}
}

// eventually waits for a condition of the world.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	kubetest.Eventually(w.T, what, func(context.Context) (bool, error) { return holds(), nil })
}

// agent is a running gitrota.
type agentProcess struct {
	w    *world
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	out  bytes.Buffer
	mu   sync.Mutex
}

func (p *agentProcess) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.output.Write(text)
	return p.out.Write(text)
}

func (p *agentProcess) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// get asks the agent's HTTP listener.
func (p *agentProcess) get(path string) (int, string) {
	p.w.Helper()
	p.w.eventually("the agent listens", func() bool { return listening.MatchString(p.log()) })
	response, err := http.Get("http://" + listening.FindStringSubmatch(p.log())[1] + path)
	require.NoError(p.w.T, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(p.w.T, err)
	return response.StatusCode, string(body)
}

var listening = regexp.MustCompile(`msg=listening address=(127\.0\.0\.1:\d+)`)

// metric finds a metric's value; 0 if it is not there yet.
func metric(metrics, name string) int {
	_, value, _ := strings.Cut("\n"+metrics, "\n"+name+" ")
	value, _, _ = strings.Cut(value, "\n")
	number, _ := strconv.Atoi(value)
	return number
}

// start runs gitrota with these arguments until the test ends.
func (w *world) start(args ...string) *agentProcess {
	w.Helper()
	binary, err := os.Executable()
	require.NoError(w.T, err)
	p := &agentProcess{w: w, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asGitrota+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(w.T, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	w.Cleanup(p.kill)
	return p
}

// agentArgs are those of an agent that works on this world as the ServiceAccount of the install manifests.
func (w *world) agentArgs(more ...string) []string {
	return append([]string{
		"agent", "--repo", w.repo.URL(), "--interval", "1s", "--git-auth", w.gitAuth, "--sops-keys", w.sopsKeys,
		"--kubeconfig", w.cluster.ServiceAccountKubeconfig(w.T, "gitrota", "gitrota"), "--listen", "127.0.0.1:0",
	}, more...)
}

func (w *world) agent(more ...string) *agentProcess {
	w.Helper()
	return w.start(w.agentArgs(more...)...)
}

// once runs an agent until nothing is left to do and returns its exit code.
func (w *world) once(more ...string) int {
	w.Helper()
	return w.agent(append([]string{"--once"}, more...)...).wait()
}

// patience is how long a command may take that ends by itself, so that a test fails which would not end. No test
// passes by it.
const patience = 3 * time.Minute

// wait returns the exit code, -1 after a signal.
func (p *agentProcess) wait() int {
	p.w.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		require.FailNow(p.w.T, "gitrota did not end", p.log())
	}
	code := p.cmd.ProcessState.ExitCode()
	if code != 0 {
		p.w.Logf("gitrota ended with %d:\n%s", code, p.log())
	}
	return code
}

// kill ends the agent as a crash would.
func (p *agentProcess) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

func (p *agentProcess) terminate() int {
	p.w.Helper()
	require.NoError(p.w.T, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.wait()
}

// lastWords is the end of what all agents wrote.
func (w *world) lastWords() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.output.String()
	return text[max(0, len(text)-16<<10):]
}

// searchForSecrets looks for every password of this world, in every spelling, in all that gitrota wrote: the output of
// the agents, every version of every file and every message in Git, the events and objects of the cluster except its
// Secrets, and the keeper's records.
func (w *world) searchForSecrets() {
	secrets, err := w.cluster.Client.CoreV1().Secrets(w.namespace).List(context.Background(), metav1.ListOptions{})
	require.NoError(w.T, err)
	places := map[string]string{"the agents' output": w.output.String()}
	for _, s := range secrets.Items {
		w.secret(s.Name)
		for key, value := range s.Data {
			if key == "record" || key == "journal" || key == "finished" || key == "restart" {
				places["the keeper's "+key] += string(value)
			}
		}
		places["the metadata of Secrets"] += fmt.Sprint(s.Labels, s.Annotations)
	}
	for _, url := range w.histories {
		clone := w.TempDir()
		for _, args := range [][]string{{"clone", "--quiet", "--mirror", url, clone}, {"--git-dir", clone, "log", "--all", "-p", "--format=raw"}} {
			text, err := exec.Command("git", args...).CombinedOutput()
			require.NoError(w.T, err, string(text))
			places["the history of Git"] += string(text)
		}
	}
	for _, kind := range []string{"events", "mssqlservers", "pods"} {
		// The test's own context has ended by now.
		text, err := w.cluster.Run(context.Background(), nil, "get", kind, "-n", w.namespace, "-o", "yaml")
		require.NoError(w.T, err)
		places["the "+kind] = text
	}
	require.NotEmpty(w.T, w.secrets)
	for password := range w.secrets {
		for _, form := range credential.Forms(password) {
			for place, text := range places {
				if strings.Contains(text, form) {
					w.Errorf("a password was found in %s", place)
				}
			}
		}
	}
}
