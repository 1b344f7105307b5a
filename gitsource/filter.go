package gitsource

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// What a server may be asked to leave out of a pack.
const (
	noBlobs = "blob:none"
	noTrees = "tree:0" // nor blobs
)

// filtering is what a server has shown that it can leave out of a pack, of those that say that they can.
type filtering int32

const (
	anyFilter  filtering = iota
	someFilter           // noBlobs, and not everything else
	noFilter
)

// filters reports whether the server can leave objects out of a pack.
func (u *upload) filters() bool {
	if filtering(u.r.filtering.Load()) == noFilter {
		return false
	}
	if u.v2() == nil {
		return u.talk.greeting().refs.Capabilities.Supports(capability.Filter)
	}
	return u.v2().Has("fetch", "filter")
}

// filter returns the filter if the server has filters at all, and the one that most of them have in place of one that it
// has refused.
func (u *upload) filter(wanted string) string {
	switch {
	case wanted == "" || !u.filters():
		return ""
	case filtering(u.r.filtering.Load()) == someFilter:
		return noBlobs
	}
	return wanted
}

// refuses notes that a server has refused a filter, if that is what an error says, and reports whether it did.
func (u *upload) refuses(filter string, err error) bool {
	var known *Error
	words := ""
	if errors.As(err, &known) {
		words = known.Server
	} else if err != nil {
		words = err.Error()
	}
	if filter == "" || !strings.Contains(words, "filter") {
		return false
	}
	u.r.opts.Log.Debug("the server allows few filters", "repository", u.r.String(), "filter", filter)
	allows := someFilter
	if filter == noBlobs {
		allows = noFilter
	}
	u.r.filtering.Store(int32(allows))
	return true
}

// upToSize leaves out blobs that are too large to be read.
func (u *upload) upToSize() string { return fmt.Sprintf("blob:limit=%d", u.r.opts.MaxFileSize+1) }

// leavesOut reports whether the server sends history without folders, as far as is known.
func (u *upload) leavesOut() bool { return u.v2() != nil && u.filter(noTrees) == noTrees }
