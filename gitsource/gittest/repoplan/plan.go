// Package repoplan describes Git repositories as plain data, draws them at random, builds them on a server, and makes
// them smaller as long as somebody finds something wrong with them.
package repoplan

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Plan is a repository on a server: its commits, how they came there, how they are stored, and what the server does.
type Plan struct {
	Seed    uint64
	Commits []Commit // a commit's parents come before it
	Stages  []Stage  // what was pushed, one after the other
	Config  []string // of the repository on the server, each key=value
	Loose   bool     // objects are stored one by one when they come in, not as packs
	Server  Server
}

// Server is how the repository is served.
type Server struct {
	SSH     bool
	Older   bool // it speaks the older versions of Git's protocol only
	TipOnly bool // it sends nothing that is asked for by name but the branches' tips; over HTTP only
}

// Tip stands for the commit that the branch is at when a commit is pushed, whoever made it.
const Tip = -1

// Commit is one commit. It changes the tree of its first parent, an empty one if it has none.
type Commit struct {
	ID       int
	Stage    int    // the push that brings it, counted from 0
	Parents  []int  // IDs, or Tip in the first commit of a stage
	Files    []File // in this order
	At       int64  // seconds since 1970
	Zone     string // such as "+0100"
	Author   string // "Name <address>"
	Encoding string // of the message; "" for UTF-8
	Message  string
}

// The modes of an entry in a tree. Gone deletes a path with whatever is below it.
const (
	Gone       = ""
	Regular    = "100644"
	Executable = "100755"
	Link       = "120000"
	Module     = "160000"
)

// File is what a commit does to one path.
type File struct {
	Path    string // any bytes
	Mode    string
	Content Content
}

// Content is the bytes of a file, or for a Module, the commit that its hash stands for.
type Content struct {
	Literal string // if not "", the content
	Seed    uint64
	Size    int  // in bytes
	Edit    int  // how often a line was changed: contents that differ in it alone make small deltas
	Noise   bool // bytes that cannot be compressed, in place of text
}

// Stage is one push, and what the server does to its storage afterwards.
type Stage struct {
	Tip         int   // the commit that the branch main is at then
	Deleted     bool  // there is no branch main then
	Refs        []Ref // others that are there then
	Maintenance []string
	Shallow     []int // commits behind which the server has forgotten everything
	Alternates  bool  // what is there so far moves into another repository, from which this one borrows
	Partial     int   // if not 0, the same, and this one becomes a partial clone, which has no files of so many bytes or more
}

// Ref is a branch or a tag beside main.
type Ref struct {
	Name      string // full, such as refs/tags/v1
	Commit    int
	Annotated bool // a tag object
}

// Bytes returns the content.
func (c Content) Bytes() []byte {
	if c.Literal != "" {
		return []byte(c.Literal)
	}
	if c.Noise {
		noise := make([]byte, c.Size)
		var seed [32]byte
		copy(seed[:], fmt.Sprintf("%d/%d", c.Seed, c.Edit))
		_, _ = rand.NewChaCha8(seed).Read(noise)
		return noise
	}
	const line = 48
	text := bytes.NewBuffer(make([]byte, 0, c.Size+line))
	lines := c.Size/line + 1
	for i := range lines {
		words := rand.New(rand.NewPCG(c.Seed, uint64(i)))
		if c.Edit > 0 && i == c.Edit%lines {
			words = rand.New(rand.NewPCG(c.Seed+uint64(c.Edit)<<32, uint64(i)))
		}
		fmt.Fprintf(text, "%016x: %016x # %08x\n", words.Uint64(), words.Uint64(), words.Uint32())
	}
	return text.Bytes()[:c.Size]
}

// commit returns the hash that a Module is at.
func (c Content) commit() string {
	sum := sha1.Sum(fmt.Appendf(nil, "%d/%d", c.Seed, c.Edit))
	return hex.EncodeToString(sum[:])
}

// Paths returns all paths that a commit of the plan writes, in the order in which they appear.
func (p *Plan) Paths() []string {
	var all []string
	seen := map[string]bool{}
	for _, c := range p.Commits {
		for _, f := range c.Files {
			if f.Mode != Gone && !seen[f.Path] {
				seen[f.Path] = true
				all = append(all, f.Path)
			}
		}
	}
	return all
}

// Filters reports whether the server can leave objects out.
func (p *Plan) Filters() bool { return slices.Contains(p.Config, "uploadpack.allowFilter=true") }

// CanBeServed reports whether git can serve the repository to somebody who asks for no file that is too large: a partial
// clone, only if large files can be left out and folders asked for by name, which the older protocol does not do.
func (p *Plan) CanBeServed() bool {
	partial := slices.ContainsFunc(p.Stages, func(stage Stage) bool { return stage.Partial > 0 })
	return !partial || p.Filters() && !p.Server.TipOnly && !p.Server.Older
}

func (p *Plan) commit(id int) *Commit {
	for i := range p.Commits {
		if p.Commits[i].ID == id {
			return &p.Commits[i]
		}
	}
	return nil
}
