package main

import (
	"fmt"
	"path"
	"strings"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
)

// people write manifests and push them.
type people struct {
	e        *episode
	base     string            // the commit with the documents of the servers, which nobody drops
	requests map[string]string // the database of each request that was ever pushed
}

// timeout of a step is longer than an episode waits for rest: what does not come to rest is seen as that.
const timeout = "5m"

// ask pushes a request, with a password of one's own or without.
func (p *people) ask(d *database, supplied bool) error {
	name := p.name(d)
	text := fmt.Sprintf("apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata:\n  name: %s\n  namespace: %s\n"+
		"spec:\n  type: RotateAuth\n  databaseRef:\n    name: %s\n  timeout: %s\n  apply: %s\n",
		name, p.e.namespace, d.kind, timeout, []string{"IfReady", "Always"}[len(p.requests)%2])
	if supplied {
		secret := fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s-secret\n  namespace: %s\ntype: kubernetes.io/basic-auth\n"+
			"stringData:\n  username: %s\n  password: %s\n", name, p.e.namespace, d.logins[0], p.e.newPassword().Reveal())
		encrypted, err := sopsfile.Encrypt([]byte(secret), []string{p.e.recipient}, "^(data|stringData)$")
		if err != nil {
			return err
		}
		text += fmt.Sprintf("  authentication:\n    secretRef:\n      name: %s-secret\n", name)
		return p.push(name, text, string(encrypted))
	}
	return p.push(name, text)
}

// goBack pushes the rollback of the database's last rotation, or does nothing where there is none.
func (p *people) goBack(d *database) error {
	var last *status
	for _, s := range p.e.statuses() {
		if s.database == d.kind && s.Phase == successful && (last == nil || s.ended() > last.ended()) {
			last = &s
		}
	}
	if last == nil {
		return nil
	}
	name := p.name(d)
	return p.push(name, fmt.Sprintf("apiVersion: gitrota.dev/v1alpha1\nkind: RotationRollback\nmetadata:\n  name: %s\n  namespace: %s\n"+
		"spec:\n  databaseRef:\n    name: %s\n  rotationId: %q\n", name, p.e.namespace, d.kind, last.rotation))
}

func (p *people) name(d *database) string { return fmt.Sprintf("r%d-%s", len(p.requests)+1, d.kind) }

// push pushes a request, with the Secret that it names in a file of its own.
func (p *people) push(name, text string, secret ...string) error {
	_, p.requests[name], _ = strings.Cut(name, "-")
	files := map[string]string{"rotations/" + name + ".yaml": text}
	for _, s := range secret {
		files["rotations/"+name+".secret.yaml"] = s
	}
	p.e.note("pushed %s: %s", name, p.e.repo.Commit(files, "Rotate: "+name))
	return nil
}

// manifests are the files of a database's requests that are on the branch.
func (p *people) manifests(d *database) (files []string) {
	for _, file := range p.e.repo.Files() {
		if strings.HasPrefix(file, "rotations/") && strings.HasSuffix(file, "-"+d.kind+".yaml") {
			files = append(files, file)
		}
	}
	return files
}

// rework does with the nth manifest of a database what people do for no good reason.
func (p *people) rework(d *database, do action, n int) error {
	files := p.manifests(d)
	if len(files) == 0 {
		return nil
	}
	file := files[n%len(files)]
	text := p.e.repo.Show(file) + "\n"
	switch do {
	case reapply:
		p.e.repo.Commit(map[string]string{file: "# looked at again\n" + text}, "Say who has looked at it")
	case move:
		moved := path.Join("rotations", fmt.Sprintf("moved-%d", len(p.e.repo.Files())), path.Base(file))
		p.e.repo.Delete("Tidy up", file)
		p.e.repo.Commit(map[string]string{moved: text}, "Move it")
	case revert:
		p.e.repo.Delete("Remove it", file)
		p.e.repo.Commit(map[string]string{file: text}, "Bring it back")
	}
	p.e.note("%s %s", do, file)
	return nil
}

// force drops the last n commits of the branch, whoever made them. With again, the manifests that went with them are
// pushed once more.
func (p *people) force(n int, again bool) error {
	commits, err := p.e.gitLines("rev-list", "--first-parent", p.base+".."+p.e.repo.Branch)
	if err != nil || len(commits) == 0 {
		return err
	}
	n = min(n, len(commits))
	to := p.base
	if n < len(commits) {
		to = commits[n]
	}
	before := map[string]string{}
	for _, file := range p.e.repo.Files() {
		if strings.HasPrefix(file, "rotations/") {
			before[file] = p.e.repo.Show(file) + "\n"
		}
	}
	p.e.note("force-push: dropped %d commits, back to %s", n, to)
	p.e.repo.Reset(to)
	for _, file := range p.e.repo.Files() {
		for dropped := range before { // one that was moved is back where it was
			if path.Base(dropped) == path.Base(file) {
				delete(before, dropped)
			}
		}
	}
	if again && len(before) > 0 {
		p.e.note("pushed again what went with them: %s", p.e.repo.Commit(before, "Bring back what was dropped"))
	}
	return nil
}
