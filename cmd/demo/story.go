package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// The requests and the Secret of examples/push.
const (
	generatedRequest = "msops-rotate-auth-generated"
	generatedFile    = "rotations/demo/rotate-auth-generated.yaml"
	userRequest      = "msops-rotate-auth-user"
	userFile         = "rotations/demo/rotate-auth-user.yaml"
	userSecret       = "mssqlserver-quickstart-auth-user"
	userSecretFile   = "rotations/demo/quickstart-auth-user.yaml"
)

// story is the demonstration from beginning to end.
func story(ctx context.Context, out *screen, w *world) error {
	began := time.Now()
	if err := setTheScene(ctx, out, w); err != nil {
		return err
	}
	first, _, err := w.authData(ctx)
	if err != nil {
		return err
	}
	second, err := rotateGenerated(ctx, out, w, first)
	if err != nil {
		return err
	}
	if err := rotateSupplied(ctx, out, w, second); err != nil {
		return err
	}
	if err := showRecord(ctx, out, w); err != nil {
		return err
	}
	if err := proveNoLeak(ctx, out, w); err != nil {
		return err
	}
	fmt.Fprintf(out.out, "\n%s in %s: two pushes, two rotated passwords, and nobody typed one.\n",
		out.paint(good, "All of it held"), time.Since(began).Round(time.Second))
	return nil
}

func setTheScene(ctx context.Context, out *screen, w *world) error {
	out.heading("A cluster with a database, a Git server, and the agent",
		"The control plane is a real one. KubeDB's provisioner and SQL Server have stand-ins; see `"+clusterBinary+" --help`.")
	out.line("cluster", "starting etcd, kube-apiserver and kube-controller-manager ...")
	if err := w.startCluster(ctx); err != nil {
		return err
	}
	out.line("cluster", "ready")
	if _, err := w.cluster.Run(ctx, nil, "create", "namespace", namespace); err != nil {
		return err
	}
	if _, err := w.cluster.Run(ctx, nil, "apply", "-f", filepath.Join(pushed, "mssqlserver-quickstart.yaml")); err != nil {
		return err
	}
	out.line("cluster", "applied MSSQLServer demo/"+database)
	if err := until(ctx, 2*time.Minute, "the database is Ready", func() (bool, error) {
		phase, _, err := w.databaseState(ctx)
		return phase == "Ready", err
	}); err != nil {
		return err
	}
	out.line("cluster", "it is Ready; KubeDB has put the password of sa into the Secret demo/"+authSecret)
	if err := w.startGit(); err != nil {
		return err
	}
	out.line("git", "serving "+w.repo.URL())
	if err := w.startAgent(ctx); err != nil {
		return err
	}
	out.line("agent", "polling it every second, as ServiceAccount gitrota/gitrota with the rights of "+installed)
	return nil
}

func rotateGenerated(ctx context.Context, out *screen, w *world, before credential.Credential) (credential.Credential, error) {
	out.heading("Push a request: rotate to a generated password",
		"The manifest is KubeDB's, unchanged. Nobody touches the cluster; the agent reports in the repository.")
	if err := request(ctx, out, w, generatedRequest, "rotate the password of the quickstart database", generatedFile); err != nil {
		return credential.Credential{}, err
	}
	return proveRotated(ctx, out, w, before)
}

func rotateSupplied(ctx context.Context, out *screen, w *world, before credential.Credential) error {
	out.heading("Push a request with a password of your own, encrypted with SOPS",
		"The Secret is readable by the agent's age key only, so it can be kept and reviewed in Git.")
	if err := request(ctx, out, w, userRequest, "set the password that the vendor gave us", userSecretFile, userFile); err != nil {
		return err
	}
	live, err := proveRotated(ctx, out, w, before)
	if err != nil {
		return err
	}
	supplied, err := decrypt()
	if err != nil {
		return err
	}
	if live != supplied {
		return errors.New("the live credential is not the one of the encrypted Secret")
	}
	out.held("the live password is the one that Git holds encrypted")
	return nil
}

// request pushes files and follows the request to its success.
func request(ctx context.Context, out *screen, w *world, name, message string, files ...string) error {
	hash, err := w.push(message, files...)
	if err != nil {
		return err
	}
	out.line("push", hash[:8]+" "+strings.Join(files, ", "))
	if err := follow(ctx, out, w, name, hash); err != nil {
		return err
	}
	_, paused, err := w.databaseState(ctx)
	if err != nil {
		return err
	}
	if paused {
		return errors.New("the database is still paused")
	}
	out.held("the request is Successful, and KubeDB looks after the database again")
	return nil
}

// decrypt reads the user's credential with the example's key.
func decrypt() (credential.Credential, error) {
	keys, err := sopsfile.LoadKeys(pushed)
	if err != nil {
		return credential.Credential{}, err
	}
	content, err := os.ReadFile(filepath.Join(pushed, userSecretFile))
	if err != nil {
		return credential.Credential{}, err
	}
	secret := manifest.Parse(map[string][]byte{userSecretFile: content}).Secret(namespace, userSecret)
	if secret == nil {
		return credential.Credential{}, fmt.Errorf("%s holds no Secret %s/%s", userSecretFile, namespace, userSecret)
	}
	supplied, problem := manifest.ReadCredential(secret, keys)
	if problem != nil {
		return credential.Credential{}, errors.New(problem.String())
	}
	return supplied, nil
}

func showRecord(ctx context.Context, out *screen, w *world) error {
	out.heading("The record in Git",
		"What an auditor finds a year later: who asked for which rotation, when it ran, and how each step went.")
	for _, file := range []string{"rotation-status/README.md", statusOf(generatedRequest), statusOf(userRequest)} {
		out.excerpt("$ cat "+file, w.repo.Show(file))
	}
	log, err := w.gitLog(ctx)
	if err != nil {
		return err
	}
	out.excerpt("$ git log --reverse", log)
	return nil
}

func (w *world) gitLog(ctx context.Context, flags ...string) (string, error) {
	args := append([]string{"--git-dir=" + w.file("git/rotations.git"), "log", "--reverse", "--date=iso"}, flags...)
	log, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git log: %w", err)
	}
	return string(log), nil
}

// proveNoLeak looks for every password in everything that was written.
func proveNoLeak(ctx context.Context, out *screen, w *world) error {
	out.heading("No password has left the Secrets", "Every password of this demonstration is looked for in whatever gitrota has written.")
	history, err := w.gitLog(ctx, "--patch")
	if err != nil {
		return err
	}
	events, err := w.cluster.Run(ctx, nil, "get", "events", "--all-namespaces", "-o", "yaml")
	if err != nil {
		return err
	}
	for _, place := range []struct{ name, text string }{
		{"the whole history of the repository", history}, {"the agent's log", w.agent.log()}, {"the cluster's events", events},
	} {
		for _, password := range w.seen {
			plain := password.Reveal()
			if strings.Contains(place.text, plain) || strings.Contains(place.text, base64.StdEncoding.EncodeToString([]byte(plain))) {
				return fmt.Errorf("a password is readable in %s", place.name)
			}
		}
		out.held("neither as it is nor in base64 in " + place.name)
	}
	return nil
}

// databaseState returns the phase of the database, and whether somebody has paused it.
func (w *world) databaseState(ctx context.Context) (phase string, paused bool, err error) {
	db, err := w.cluster.Dynamic.Resource(kubetest.MSSQLServers).Namespace(namespace).Get(ctx, database, metav1.GetOptions{})
	if err != nil {
		return "", false, err
	}
	phase, _, _ = unstructured.NestedString(db.Object, "status", "phase")
	conditions, _, _ := unstructured.NestedSlice(db.Object, "status", "conditions")
	for _, c := range conditions {
		fields, _ := c.(map[string]any)
		paused = paused || fields["type"] == "Paused" && fields["status"] == "True"
	}
	return phase, paused, nil
}

// lookAround tells a person what can be done while everything runs on.
func lookAround(out *screen, w *world) {
	ip, err := w.podIP(context.Background())
	if err != nil {
		ip = "POD-IP"
	}
	kubectl := fmt.Sprintf("%s kubectl --kubeconfig %s", clusterBinary, w.cluster.Kubeconfig)
	out.heading("Look around", "Everything runs on until you end it.")
	out.plain(strings.Join([]string{
		"kubectl     " + kubectl + " -n demo get ms,pods,secrets,events",
		"git         git -c credential.helper='store --file " + w.file("git-credentials") + "' clone " + w.repo.URL(),
		"SQL         tsql -H " + ip + " -p 1433 -U sa -P \"$(" + kubectl + " -n demo get secret " + authSecret + " -o go-template='{{.data.password | base64decode}}')\"",
		"agent log   less " + w.agent.logFile,
		"metrics     curl http://" + w.agent.address + "/metrics",
		"",
		fmt.Sprintf("To rotate again, push a request with another metadata.name. To end it all: Ctrl-C, or kill %d", os.Getpid()),
	}, "\n"))
}
