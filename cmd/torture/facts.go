package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// facts are what there is to be judged, gathered without any code that rotates.
type facts struct {
	plan      Plan
	databases []*database
	servers   []server
	secrets   map[string]secretData // as they are now
	paused    []string              // databases
	unready   []string              // pods, with why
	tip       []status
	wanted    []string // requests whose manifests are on the branch

	// Gathered at the end alone:
	lines    []lineage
	lost     []string
	repeated []string
	kills    int      // of agents, or times that they were stopped
	leaks    []string // places where a password was found
	panics   []string // lines of logs
	audit    string   // what gitrota audit verify has found; "" for nothing
}

// lookAround gathers what says whether everything is at rest. The error is the API server's or Git's, and no verdict.
func (e *episode) lookAround(ctx context.Context) (f facts, err error) {
	f = facts{plan: e.plan, secrets: map[string]secretData{}, tip: e.statuses()}
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	secrets, err := e.cluster.Client.CoreV1().Secrets(e.namespace).List(call, metav1.ListOptions{})
	if err != nil {
		return f, err
	}
	for _, s := range secrets.Items {
		f.secrets[s.Name] = dataOf(&s)
	}
	for _, kind := range e.plan.Databases {
		d := e.databases[kind]
		f.databases = append(f.databases, d)
		folders := d.folders(e)
		if d.server == nil {
			pods, err := e.pods(ctx, d)
			if err != nil {
				return f, err
			}
			if want := max(1, len(d.volumes)); len(pods) < want {
				f.unready = append(f.unready, fmt.Sprintf("%s has %d pods of %d", kind, len(pods), want))
			}
			for _, pod := range pods {
				if !isReady(pod) {
					f.unready = append(f.unready, "pod "+pod.Name)
				} else if len(d.volumes) == 0 {
					folders[pod.Name] = filepath.Join(e.cluster.Dir, "pods", string(pod.UID))
				}
			}
		}
		for replica, folder := range folders {
			s, err := readServer(d, replica, folder)
			if err != nil {
				return f, err
			}
			f.servers = append(f.servers, s)
		}
	}
	list, err := e.cluster.Dynamic.Resource(kubetest.MSSQLServers).Namespace(e.namespace).List(call, metav1.ListOptions{})
	if err != nil {
		return f, err
	}
	for _, db := range list.Items {
		if text, _ := json.Marshal(db.Object["status"]); pausedCondition.Match(text) {
			f.paused = append(f.paused, db.GetName())
		}
	}
	files, err := e.gitLines("ls-tree", "-r", "--name-only", e.repo.Branch, "rotations")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if _, asked := e.people.requests[name]; asked {
			f.wanted = append(f.wanted, name)
		}
	}
	return f, err
}

var pausedCondition = regexp.MustCompile(`"type":"Paused"`)

// lookBack adds what can be said when everything has ended, the agents too.
func (e *episode) lookBack(ctx context.Context, f *facts) (err error) {
	f.lost, f.repeated = e.vault.found(), e.vault.repeated()
	for _, s := range e.plan.Steps {
		if s.Do == killAgent || s.Do == stopAgent {
			f.kills++
		}
	}
	if e.plan.Anew {
		f.kills += e.plan.Agents
	}
	if f.lines, err = e.lineages(); err != nil {
		return err
	}
	places, err := e.places(ctx)
	if err != nil {
		return err
	}
	f.leaks = leaks(e.passwords(), places)
	for name, text := range places {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(name, "agent-") && (strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:")) {
				f.panics = append(f.panics, name+": "+line)
			}
		}
	}
	f.audit = e.audit(ctx)
	return nil
}

// places are all that gitrota writes, by name.
func (e *episode) places(ctx context.Context) (map[string]string, error) {
	places := map[string]string{}
	for n := range e.agents {
		name := fmt.Sprintf("agent-%d.log", n)
		text, err := os.ReadFile(filepath.Join(e.folder, name))
		if err != nil {
			return nil, err
		}
		places[name] = string(text)
	}
	history, err := e.gitOutput("log", "--all", "--reflog", "-p", "--format=raw")
	if err != nil {
		return nil, err
	}
	places["the history of Git"] = history
	for _, keeper := range e.databases {
		data := e.vault.secret(keeper.keeper())
		for key, value := range data {
			if !strings.HasSuffix(key, ".password") {
				places["the keeper's "+key] += value
			}
		}
	}
	for _, kind := range []string{"events", "pods", "mssqlservers"} {
		err := until(ctx, setupTime, "the API server lists "+kind, func() (bool, error) {
			text, err := e.cluster.Client.CoreV1().RESTClient().Get().AbsPath(apis[kind], "namespaces", e.namespace, kind).DoRaw(ctx)
			places["the "+kind] = string(text)
			return err == nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return places, nil
}

var apis = map[string]string{"events": "/api/v1", "pods": "/api/v1", "mssqlservers": "/apis/kubedb.com/v1alpha2"}

// passwords are all that were in play.
func (e *episode) passwords() (all []credential.Password) {
	e.mu.Lock()
	all = slices.Clone(e.secrets)
	e.mu.Unlock()
	for text := range e.vault.all() {
		all = append(all, credential.NewPassword(text))
	}
	return all
}

// leaks names the places in which one of the passwords is found, in any spelling.
func leaks(passwords []credential.Password, places map[string]string) (found []string) {
	for place, text := range places {
		for _, p := range passwords {
			if slices.ContainsFunc(credential.Forms(p), func(form string) bool { return strings.Contains(text, form) }) {
				found = append(found, place)
				break
			}
		}
	}
	return found
}

// audit has gitrota prove its own history. "" is proven.
func (e *episode) audit(ctx context.Context) string {
	args := []string{"audit", "verify", "--agent-signers", e.signers, "--repo-dir", e.repo.Folder()}
	out, err := exec.CommandContext(ctx, e.cluster.agent, args...).CombinedOutput()
	if err == nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
