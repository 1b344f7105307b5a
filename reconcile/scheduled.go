package reconcile

import (
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/schedule"
)

// A rotation that is due is asked for like any other: by a request in Git. Its name is made from the due date, and its
// content from the database, so that two agents, or one that was killed and does not know whether its push arrived, make
// the same file. Nothing that is there is ever changed.

// scheduledFolder is where requests that are due are written, below the path of the manifests.
const scheduledFolder = "scheduled"

// maxPlanAge bounds how long a plan is believed although nothing is known to have changed.
const maxPlanAge = time.Hour

// ScheduledPath is the path of a request that a schedule asks for.
func ScheduledPath(manifests, namespace, name string) string {
	return path.Join(manifests, scheduledFolder, namespace, name+".yaml")
}

// Survey lists the databases of the cluster, whose labels and schedules count: before it, nobody knows which policies are
// about a database. The error is [ErrAPIUnavailable].
func (c *Controller) Survey(ctx context.Context) error {
	list, err := c.Engine.Cluster.Targets(ctx)
	if err != nil {
		return err
	}
	targets := make(map[string]Target, len(list))
	for _, t := range list {
		targets[t.Namespace+"/"+t.Name] = Target{
			Kind: t.Kind, Namespace: t.Namespace, Name: t.Name, Labels: t.Labels, Created: t.Created, ActiveFrom: t.ActiveFrom, RotateAfter: t.RotateAfter,
		}
	}
	labels := map[string]map[string]string{}
	for key, t := range targets {
		labels[key] = t.Labels
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.surveyed && reflect.DeepEqual(c.targets, targets) {
		return nil
	}
	c.targets, c.labels, c.surveyed, c.planned = targets, labels, true, nil
	c.stale = c.stale || c.judgedByDatabases()
	return nil
}

// judgedByDatabases reports whether what was read would be judged otherwise if the databases were others. The caller holds
// the lock.
func (c *Controller) judgedByDatabases() bool {
	return len(c.set.Policies) > 0 || slices.ContainsFunc(c.set.Requests, func(r *manifest.Request) bool {
		return inside(r.Path, path.Join(c.Path, scheduledFolder))
	})
}

// Plan says when every database that has a schedule is to be rotated next. It is called by the goroutine that calls Poll.
func (c *Controller) Plan() []Planned {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.replan())
}

// replan makes a plan if there is none, or if something is due by the one there is. The caller holds the lock.
func (c *Controller) replan() []Planned {
	now := c.Engine.Clock.Now()
	if c.planned != nil && now.Before(c.planNext) {
		return c.planned
	}
	servers := map[string]time.Time{}
	for _, s := range c.set.Servers {
		servers[s.Namespace+"/"+s.Name] = c.serverBegan[s.Path]
	}
	known := histories(c.statuses)
	for database, dates := range c.declined {
		h := known[database]
		h.declined = dates
		known[database] = h
	}
	list := slices.DeleteFunc(databases(c.set, c.targets, servers), func(d scheduled) bool { return !c.guards.Namespace(d.Namespace) })
	c.planned, c.asked = plan(c.set, list, known, c.statuses, now), false
	if c.planned == nil {
		c.planned = []Planned{}
	}
	c.planNext = now.Add(maxPlanAge)
	for _, p := range c.planned {
		for _, at := range []time.Time{p.Drawn, p.Begins} {
			if at.After(now) && at.Before(c.planNext) {
				c.planNext = at
			}
		}
	}
	return c.planned
}

// NextDue returns when a rotation becomes due, or may begin that waits for its time; zero: that is not known. It is now
// where a plan has been made and Schedule not been called since.
func (c *Controller) NextDue() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.opening
	if c.planned != nil && !c.asked {
		return c.Engine.Clock.Now()
	}
	if c.planned != nil && (next.IsZero() || c.planNext.Before(next)) {
		next = c.planNext
	}
	return next
}

// Schedule asks for the rotations that are due, and reports whether there were any. It does nothing before what an
// earlier run has done is known, for that may be one of them. As long as nothing has changed, and nothing has become due,
// it costs nothing.
func (c *Controller) Schedule(ctx context.Context) (bool, error) {
	if c.manifests == nil || !c.recovered || !c.surveyed {
		return false, nil
	}
	c.mu.Lock()
	var due []Planned
	if planned := c.replan(); !c.asked { // whoever has made the plan
		for _, p := range planned {
			if p.Reason == schedule.DueNow && p.Held == "" && p.Rule.OnDue != schedule.PullRequest {
				due = append(due, p)
			}
		}
		c.asked = true
	}
	c.mu.Unlock()
	if len(due) == 0 {
		return false, nil
	}
	before := c.manifests.Revision
	err := c.put(ctx, due)
	if err != nil {
		c.mu.Lock()
		c.asked = false // to be tried again
		c.mu.Unlock()
	}
	return c.manifests.Revision != before, err
}

// put writes the requests of what is due into Git.
func (c *Controller) put(ctx context.Context, due []Planned) error {
	dirs := []string{c.Path}
	if c.oneBranch() {
		dirs = append(dirs, c.StatusPath)
	}
	snapshot, err := c.Repository.Write(ctx, dirs, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
		return ScheduledChange(tip, c.Path, due)
	})
	if err != nil {
		return fmt.Errorf("writing the requests of %d rotations that are due: %w", len(due), err)
	}
	if c.oneBranch() {
		return c.load(ctx, snapshot, snapshot)
	}
	return c.load(ctx, snapshot, c.written)
}

// ScheduledChange is the commit that asks for what is due; nil if the files are all there, whatever is in them.
func ScheduledChange(tip *gitsource.Snapshot, manifests string, due []Planned) (*gitsource.Change, error) {
	change := &gitsource.Change{Files: map[string][]byte{}}
	var why []string
	for _, p := range due {
		file := ScheduledPath(manifests, p.Database.Namespace, p.Name)
		if _, there := tip.Get(file); there {
			continue
		}
		content, err := scheduledRequest(p)
		if err != nil {
			return nil, err
		}
		change.Files[file] = content
		why = append(why, fmt.Sprintf("%s %s/%s: %s (%s).", p.Database.Kind, p.Database.Namespace, p.Database.Name, p.Message, p.From))
		change.Trailers = append(change.Trailers, gitsource.Trailer{Key: "Rotation-Scheduled", Value: p.Database.Namespace + "/" + p.Name})
	}
	switch len(change.Files) {
	case 0:
		return nil, nil
	case 1:
		change.Subject = "schedule " + change.Trailers[0].Value
	default:
		change.Subject = fmt.Sprintf("schedule %d rotations", len(change.Files))
	}
	change.Body = strings.Join(why, "\n")
	return change, nil
}

// scheduledRequest writes the request of what is due. It depends on nothing but the database and the date.
func scheduledRequest(p Planned) ([]byte, error) {
	body, err := yaml.Marshal(map[string]any{
		"apiVersion": manifest.RequestVersion, "kind": manifest.KindRequest,
		"metadata": map[string]any{"namespace": p.Database.Namespace, "name": p.Name},
		"spec":     map[string]any{"type": manifest.TypeRotateAuth, "databaseRef": map[string]any{"name": p.Database.Name}},
	})
	if err != nil {
		return nil, fmt.Errorf("writing the request %s/%s: %w", p.Database.Namespace, p.Name, err)
	}
	return append([]byte("# Written by gitrota, for a rotation that was due at "+p.Date.UTC().Format(time.RFC3339)+".\n"), body...), nil
}

// askedFor reports whether a request is exactly what the schedule in force asks for, at the place where it asks for it, about
// a date that has come. Who wrote it does not matter then. The caller holds the lock.
func (c *Controller) askedFor(r Request) (Planned, bool) {
	if r.Source.Path != ScheduledPath(c.Path, r.Namespace, r.Name) || !plainRotation(r) {
		return Planned{}, false
	}
	i := slices.IndexFunc(c.replan(), func(p Planned) bool {
		return p.Database.Namespace == r.Namespace && p.Database.Name == r.Database && p.asked(r.Name, c.Engine.Clock.Now())
	})
	if i < 0 {
		return Planned{}, false
	}
	return c.planned[i], true
}

// plainRotation reports whether a request asks for what a schedule would ask for, and for nothing else.
func plainRotation(r Request) bool {
	return r.Kind == manifest.KindRequest && r.SecretRef == "" && !r.Always && r.Timeout == 0 && r.MaxRetries == 1
}

// asked reports whether the schedule asks, or has asked since the last rotation, for a request of that name.
func (p Planned) asked(name string, now time.Time) bool {
	if p.Due && p.Name == name {
		return true
	}
	date, scheduled := dateOf(name)
	if !scheduled {
		return false
	}
	before := schedule.Due(schedule.Input{Database: p.Database.Kind + " " + p.Database.Namespace + "/" + p.Database.Name, Rule: p.Rule, Last: p.since, Now: date.Add(p.Rule.Jitter)})
	return before.Due && before.Name == name && !before.Drawn.After(now)
}

// dateOf returns the date that a request is named after, if it has the name of one that a schedule asks for.
func dateOf(name string) (time.Time, bool) {
	at := strings.LastIndex(name, "-scheduled-")
	if at < 0 {
		return time.Time{}, false
	}
	date, err := time.Parse("-scheduled-20060102t1504z", name[at:])
	return date, err == nil
}
