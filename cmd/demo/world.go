package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// Where things are, from the repository's top level.
const (
	agentBinary   = ".build/gitrota"
	clusterBinary = ".build/devcluster"
	pushed        = "examples/push"
	installed     = "examples/install"
)

// world is what the demonstration plays in. Its parts are nil until they are started.
type world struct {
	cluster *kubetest.Cluster
	git     *gittest.Server
	repo    *gittest.Repo
	agent   *process
	seen    []credential.Password // every password that the demonstration came across: none may show up anywhere
}

// file is a place in the cluster's folder, which is removed with it.
func (w *world) file(name string) string { return filepath.Join(w.cluster.Dir, "demo", name) }

func (w *world) startCluster(ctx context.Context) (err error) {
	if w.cluster, err = kubetest.Up(ctx, kubetest.Options{}); err != nil {
		return err
	}
	return os.MkdirAll(w.file("git"), 0o700)
}

// startGit starts a Git server with a repository that wants a login.
func (w *world) startGit() (err error) {
	options := gittest.Options{Username: "gitrota", Password: rand.Text()}
	if w.git, err = gittest.Start(w.file("git"), options); err != nil {
		return err
	}
	w.seen = append(w.seen, credential.NewPassword(options.Password))
	w.repo = w.git.NewRepo("rotations")
	sops, err := os.ReadFile(filepath.Join(pushed, ".sops.yaml"))
	if err != nil {
		return err
	}
	w.repo.Commit(map[string]string{
		"README.md":  "# The credentials of our databases\n\nPush a MSSQLServerOpsRequest to rotations/, and read rotation-status/.\n",
		".sops.yaml": string(sops),
	}, "begin")
	// For a person who clones it, with the password in a file and not on the screen.
	login := strings.Replace(w.git.URL, "://", "://"+options.Username+":"+options.Password+"@", 1)
	return os.WriteFile(w.file("git-credentials"), []byte(login+"\n"), 0o600)
}

// startAgent starts the agent with the rights of the install manifests.
func (w *world) startAgent(ctx context.Context) error {
	for _, file := range []string{"namespace.yaml", "rbac.yaml"} {
		if _, err := w.cluster.Run(ctx, nil, "apply", "-f", filepath.Join(installed, file)); err != nil {
			return err
		}
	}
	kubeconfig, err := w.serviceAccount(ctx, "gitrota", "gitrota")
	if err != nil {
		return err
	}
	w.agent, err = startAgent(ctx, agentBinary, w.file("agent.log"),
		"--repo="+w.repo.URL(), "--git-auth="+w.git.AuthDir(false), "--sops-keys="+pushed,
		"--kubeconfig="+kubeconfig, "--interval=1s")
	return err
}

// serviceAccount writes a kubeconfig that has the rights of a service account and no others.
func (w *world) serviceAccount(ctx context.Context, namespace, name string) (file string, err error) {
	token, err := w.cluster.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	config := api.NewConfig()
	config.Clusters["demo"] = &api.Cluster{Server: w.cluster.Config.Host, CertificateAuthorityData: w.cluster.Config.CAData}
	config.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	config.Contexts["demo"] = &api.Context{Cluster: "demo", AuthInfo: name}
	config.CurrentContext = "demo"
	file = w.file("agent.kubeconfig")
	return file, clientcmd.WriteToFile(*config, file)
}

// push commits files of examples/push under their own names.
func (w *world) push(message string, names ...string) (string, error) {
	files := map[string]string{}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(pushed, name))
		if err != nil {
			return "", err
		}
		files[name] = string(content)
	}
	return w.repo.Commit(files, message), nil
}

// agentLog is the end of the agent's log, as far as there is one.
func (w *world) agentLog() string {
	if w.agent == nil {
		return "the agent was not started"
	}
	return w.agent.logEnd()
}

// close ends everything, the agent first, and leaves nothing behind.
func (w *world) close() error {
	if w.agent != nil {
		w.agent.stop()
	}
	if w.git != nil {
		w.git.Close()
	}
	if w.cluster == nil {
		return nil
	}
	dir := w.cluster.Dir
	err := w.cluster.Down()
	if _, gone := os.Stat(dir); gone == nil {
		err = errors.Join(err, fmt.Errorf("the folder %s is left behind", dir))
	}
	return err
}
