package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// whenTime is how long a disturbance waits for its moment before it comes anyway.
const whenTime = 3 * time.Second

// do does a step of the plan. It returns what ends it, nil if it is over. What cannot be done, as when the API server is
// away, is noted: a disturbance more or less is no matter.
func (e *episode) do(ctx context.Context, s Step) (end func()) {
	d := e.databases[s.Database]
	var err error
	switch s.Do {
	case request:
		err = e.people.ask(d, false)
	case supply:
		err = e.people.ask(d, d.kind != "pair")
	case goBack:
		err = e.people.goBack(d)
	case reapply, move, revert:
		err = e.people.rework(d, s.Do, s.N)
	case forcePush:
		err = e.people.force(s.N, s.N%2 == 0)
	case killAgent:
		e.atMoment(s, e.agents[s.Agent].kill)
	case stopAgent:
		e.atMoment(s, e.agents[s.Agent].stop)
		return e.agents[s.Agent].resume
	case killAPI:
		err = e.cluster.kill("kube-apiserver")
	case killEtcd:
		err = e.cluster.kill("etcd")
	case stopAPI:
		return e.freeze("kube-apiserver")
	case stopEtcd:
		return e.freeze("etcd")
	case gitAway:
		e.git.Break(gittest.Cut)
		e.note("Git is away")
		return e.gitIsBack
	case gitLoses:
		e.git.Break(gittest.OnPush(gittest.LoseAnswer))
		e.note("Git loses the answers to pushes")
		return e.gitIsBack
	case deletePod:
		err = e.deletePod(ctx, d, s.N)
	case serverAway:
		return e.serverAway(ctx, d, s.N)
	case dropAnswer:
		err = e.setFaults(ctx, d, s.N, `{"statements":[{"kind":"ALTER LOGIN","drop":"after","times":1}]}`)
	case slowAlter:
		err = e.setFaults(ctx, d, s.N, fmt.Sprintf(`{"statements":[{"kind":"ALTER LOGIN","delay":"%dms","times":1}]}`, 500*s.N))
	case deleteAuth, replaceAuth:
		err = e.tamper(ctx, d, s.Do)
	}
	e.note("%s: %v", s, err)
	return nil
}

// atMoment does something when the agent's log says so, or after a while.
func (e *episode) atMoment(s Step, do func()) {
	e.note("%s", s)
	if s.When == "" {
		do()
		return
	}
	e.agents[s.Agent].when(s.When, whenTime, func() {
		time.Sleep(s.Later) // where the log is read, which goes on afterwards
		do()
	})
}

func (e *episode) freeze(process string) (end func()) {
	resume, err := e.cluster.stop(process)
	e.note("stopped %s: %v", process, err)
	return func() { e.note("resumed %s: %v", process, resume()) }
}

func (e *episode) gitIsBack() {
	e.git.Break(nil)
	e.note("Git is back")
}

// pod is the nth of a database.
func (e *episode) pod(ctx context.Context, d *database, n int) (*corev1.Pod, error) {
	pods, err := e.pods(ctx, d)
	if err != nil || len(pods) == 0 {
		return nil, fmt.Errorf("there is no pod: %w", err)
	}
	return &pods[n%len(pods)], nil
}

func (e *episode) deletePod(ctx context.Context, d *database, n int) error {
	pod, err := e.pod(ctx, d, n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return e.cluster.Client.CoreV1().Pods(e.namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{})
}

// serverAway has the nth server let nobody in, and end what is asked on open sessions; one outside is killed.
func (e *episode) serverAway(ctx context.Context, d *database, n int) (end func()) {
	if d.server != nil {
		e.note("killed %s: %v", d.kind, d.server.stop())
		return func() { e.note("started %s: %v", d.kind, d.server.start()) }
	}
	err := e.setFaults(ctx, d, n, `{"refuseConnections":true,"statements":[{"drop":"before"}]}`)
	e.note("server %d of %s is away: %v", n, d.kind, err)
	return func() { e.note("the servers of %s are back: %v", d.kind, e.healServers(context.Background(), d)) }
}

func (e *episode) setFaults(ctx context.Context, d *database, n int, faults string) error {
	if d.server != nil {
		parsed, err := mssqltest.ParseFaults(faults)
		d.server.setFaults(parsed)
		return err
	}
	pod, err := e.pod(ctx, d, n)
	if err != nil {
		return err
	}
	return e.annotate(ctx, pod.Name, fmt.Sprintf("%q", faults))
}

// annotate writes the annotation that devcluster obeys; null removes it.
func (e *episode) annotate(ctx context.Context, pod, value string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"devcluster.gitrota.dev/faults":%s}}}`, value)
	_, err := e.cluster.Client.CoreV1().Pods(e.namespace).Patch(ctx, pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (e *episode) healServers(ctx context.Context, d *database) error {
	if d.server != nil {
		d.server.setFaults(mssqltest.Faults{})
		return d.server.start()
	}
	return until(ctx, setupTime, "the servers of "+d.kind+" have no faults", func() (bool, error) {
		pods, err := e.pods(ctx, d)
		for _, pod := range pods {
			if pod.Annotations["devcluster.gitrota.dev/faults"] != "" {
				err = e.annotate(ctx, pod.Name, "null")
			}
		}
		return err == nil, nil
	})
}

// tamper deletes the auth Secret, or puts a stranger's password into it. Before gitrota has rotated once, it holds the
// only copy, which nobody has promised to keep.
func (e *episode) tamper(ctx context.Context, d *database, do action) error {
	if e.vault.secret(d.keeper())["live.password"] == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	secrets := e.cluster.Client.CoreV1().Secrets(e.namespace)
	if do == deleteAuth {
		return secrets.Delete(ctx, d.authSecret(), metav1.DeleteOptions{})
	}
	patch := fmt.Sprintf(`{"stringData":{"password":%q}}`, e.newPassword().Reveal())
	_, err := secrets.Patch(ctx, d.authSecret(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "stranger"})
	return err
}

// heal ends whatever is not over yet.
func (e *episode) heal(ctx context.Context) {
	e.git.Break(nil)
	for _, d := range e.databases {
		if err := e.healServers(ctx, d); err != nil {
			e.note("%v", err)
		}
	}
	for _, a := range e.agents {
		a.resume()
		if e.plan.Anew {
			a.kill()
		}
	}
	e.note("all is healed")
}
