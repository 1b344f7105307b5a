package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/reconcile"
)

// statusOf is the path of a request's status file.
func statusOf(request string) string { return "rotation-status/demo/" + request + ".yaml" }

// follow prints the commits that come in after head and each condition that they bring, until the request has ended. It returns
// an error unless that was with success.
func follow(ctx context.Context, out *screen, w *world, request, head string) error {
	var phase reconcile.Phase
	printed := map[string]reconcile.Condition{}
	err := until(ctx, 2*time.Minute, "request "+request+" has ended", func() (bool, error) {
		select {
		case <-w.agent.done:
			return false, errors.New("the agent has ended by itself")
		default:
		}
		tip := w.repo.Head()
		if tip == head {
			return false, nil
		}
		log := w.repo.Log()
		known := slices.IndexFunc(log, func(e gittest.Entry) bool { return e.Hash == head })
		for _, e := range slices.Backward(log[:known]) {
			out.line("commit", out.paint(strong, e.Hash[:8]+" "+e.Subject))
		}
		head = tip
		status, err := readStatus(w, request)
		if err != nil {
			return false, err
		}
		for _, c := range status.Conditions {
			if printed[c.Type] == c {
				continue
			}
			printed[c.Type] = c
			colour := good
			if c.Status != "True" {
				colour = faint
			}
			out.at(c.LastTransitionTime, colour, "condition", fmt.Sprintf("%-43s %s", c.Type, out.paint(faint, brief(c.Message))))
		}
		phase = status.Phase
		return phase.Finished(), nil
	})
	if err != nil {
		return err
	}
	if phase != reconcile.PhaseSuccessful {
		return fmt.Errorf("the request %s is %s", request, phase)
	}
	return nil
}

// brief cuts a message for a table. The status files are printed in full later.
func brief(message string) string {
	const most = 80
	if len(message) <= most {
		return message
	}
	return message[:most-3] + "..."
}

// status is what a status file says.
type status struct {
	Phase      reconcile.Phase
	Conditions []reconcile.Condition
}

func readStatus(w *world, request string) (status, error) {
	if !slices.Contains(w.repo.Files(), statusOf(request)) {
		return status{}, nil
	}
	var file struct{ Status status }
	if err := yaml.Unmarshal([]byte(w.repo.Show(statusOf(request))), &file); err != nil {
		return status{}, fmt.Errorf("%s: %w", statusOf(request), err)
	}
	return file.Status, nil
}
