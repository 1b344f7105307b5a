package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// keep writes what somebody needs who looks for the cause of a violation into the episode's folder, beside the agents'
// logs and the repository. The passwords in it are of this episode alone.
func (e *episode) keep(violations []string, f facts) error {
	states, err := json.MarshalIndent(map[string]any{"secrets": f.secrets, "staged": e.vault.staged, "statuses": f.tip}, "", "  ")
	if err != nil {
		return err
	}
	files := map[string]string{
		"plan.txt":          e.plan.String() + "\n",
		"violations.txt":    strings.Join(violations, "\n") + "\n",
		"events.txt":        strings.Join(e.log, "\n") + "\n",
		"control-plane.txt": strings.Join(e.cluster.happened(), "\n") + "\n",
		"states.json":       string(states) + "\n",
		"devcluster.log":    e.cluster.Log(),
	}
	for _, d := range e.databases {
		for replica, folder := range d.folders(e) {
			for _, name := range []string{"master.json", "log/errorlog"} {
				text, readErr := os.ReadFile(filepath.Join(folder, name))
				if readErr == nil {
					files[replica+"-"+filepath.Base(name)] = string(text)
				}
			}
		}
	}
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(e.folder, name), []byte(text), 0o600))
	}
	return err
}

// report is a violated episode for people.
func (e *episode) report(violations []string) string {
	text := fmt.Sprintf("VIOLATION in an episode; replay with make torture EPISODES=1 SEED=%d\n%s\n", e.plan.Seed, e.plan)
	for _, v := range violations {
		text += "  ! " + v + "\n"
	}
	return text + "  see " + e.folder + "\n"
}
