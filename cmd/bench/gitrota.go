package main

import (
	"context"
	"errors"

	"github.com/gitrota/gitrota/gitsource"
)

// gitrota uses the repository as the agent does.
type gitrota struct {
	repository *gitsource.Repository
	dirs       []string
	snapshot   *gitsource.Snapshot // the one that was read last; the agent keeps it too
}

func newGitrota(url string) (*gitrota, error) {
	repository, err := gitsource.Open(gitsource.Options{
		URL: url, Branch: branch, Author: gitsource.Person{Name: "gitrota", Email: "gitrota@example.com"},
	})
	return &gitrota{repository: repository}, err
}

func (g *gitrota) poll(ctx context.Context) error {
	_, err := g.repository.Head(ctx)
	return err
}

func (g *gitrota) read(ctx context.Context, dirs []string) (string, int, error) {
	g.dirs = dirs
	head, err := g.repository.Head(ctx)
	if err != nil {
		return "", 0, err
	}
	if g.snapshot != nil && g.snapshot.Revision == head {
		return "", 0, errors.New("nothing has changed")
	}
	g.snapshot, err = g.repository.Snapshot(ctx, dirs...)
	if err != nil {
		return "", 0, err
	}
	return g.snapshot.Revision, len(g.snapshot.Files), nil
}

// update also looks up which commits brought the files that are new, for a request is served in the name of one.
func (g *gitrota) update(ctx context.Context) (string, int, error) {
	before := map[string]string{}
	for _, f := range g.snapshot.Files {
		before[f.Path] = f.Blob
	}
	tip, files, err := g.read(ctx, g.dirs)
	if err != nil {
		return "", 0, err
	}
	var changed []string
	for _, f := range g.snapshot.Files {
		if before[f.Path] != f.Blob {
			changed = append(changed, f.Path)
		}
	}
	origins, err := g.repository.Origins(ctx, tip, changed...)
	if err == nil && len(origins) != len(changed) {
		err = errors.New("not every change has its commit")
	}
	return tip, files, err
}

func (g *gitrota) trace(ctx context.Context, dirs []string) (string, error) {
	tip, _, err := g.read(ctx, dirs)
	if err != nil {
		return "", err
	}
	origin, err := g.repository.Origin(ctx, tip, oldRequest)
	return origin.Hash, err
}

// write counts every time that the commit is built anew. Like the agent, it comes back when it has given up.
func (g *gitrota) write(ctx context.Context, number int) (tries int, err error) {
	for {
		_, err := g.repository.Write(ctx, []string{watched, statuses}, func(*gitsource.Snapshot) (*gitsource.Change, error) {
			tries++
			s := newStatus("gitrota", number)
			return &gitsource.Change{
				Files: map[string][]byte{s.path: []byte(s.content)}, Subject: s.subject,
				Trailers: []gitsource.Trailer{{Key: idTrailer, Value: s.id}},
			}, nil
		})
		if !errors.Is(err, gitsource.ErrConflict) {
			return tries, err
		}
	}
}
