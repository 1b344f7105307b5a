package agent

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// check finds what is wrong with options before anything is opened. Its texts name the flags.
func check(o Options) error {
	if o.Repo == "" {
		return errors.New("--repo is missing: the URL of the repository with the rotation requests")
	}
	if o.Cluster == nil {
		return errors.New("there is no cluster to work on")
	}
	if o.Interval < time.Second {
		return fmt.Errorf("--interval %s is too short: the forge would not like it; use 1s or more", o.Interval)
	}
	if o.PatrolInterval < time.Second {
		return fmt.Errorf("--patrol-interval %s is too short: the API server would not like it; use 1s or more", o.PatrolInterval)
	}
	if (o.WebhookListen == "") != (o.WebhookSecret == "") {
		return errors.New("--webhook-listen and --webhook-secret need one another: whoever can send a hook has to prove who it is")
	}
	for flag, folder := range map[string]string{"--path": o.Path, "--status-path": o.StatusPath} {
		if path.IsAbs(folder) || path.Clean(folder) != folder || folder == "." || strings.HasPrefix(folder, "..") {
			return fmt.Errorf("%s %q is not a folder inside the repository: use a plain relative path such as rotations/production", flag, folder)
		}
	}
	if namespace, name, named := strings.Cut(o.PolicyRecord, "/"); o.PolicyRecord != "" && (!named || !manifest.IsNamespace(namespace) || !manifest.IsName(name)) {
		return fmt.Errorf("--policy-record %q: give the namespace and the name of a Secret, such as gitrota/policies-in-force", o.PolicyRecord)
	}
	switch o.StatusBranch {
	case "":
	case o.Branch:
		return fmt.Errorf("--status-branch %q is --branch: leave it out, or name a branch that is gitrota's alone", o.StatusBranch)
	default:
		return nil // on a branch of its own, a folder may be called as it likes
	}
	if within(o.Path, o.StatusPath) || within(o.StatusPath, o.Path) {
		return fmt.Errorf("--path %q and --status-path %q overlap: what gitrota writes must not be what it reads", o.Path, o.StatusPath)
	}
	return nil
}

func within(folder, other string) bool {
	return folder == other || strings.HasPrefix(folder, other+"/")
}
