package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The kinds that are read.
const (
	opsGroup       = "ops.kubedb.com"
	RequestVersion = opsGroup + "/v1alpha1"
	gitrotaGroup   = "gitrota.dev"
	gitrotaVersion = gitrotaGroup + "/v1alpha1"
	secretKind     = "Secret"
)

// gitrotaKinds are those of gitrotaVersion.
var gitrotaKinds = []string{KindServer, KindPolicy, KindRollback}

// add sorts one document by its kind.
func (f *File) add(d document) {
	version, kind := text(d.root, "apiVersion"), text(d.root, "kind")
	group, _, _ := strings.Cut(version, "/")
	_, sops := get(d.root, "sops")
	switch {
	case version == RequestVersion && kind == KindRequest, version == gitrotaVersion && kind == KindRollback:
		f.addRequest(d, kind)
	case version == gitrotaVersion && kind == KindServer:
		f.addServer(d)
	case version == gitrotaVersion && kind == KindPolicy:
		f.addPolicy(d)
	case kind == KindGuardrails && (group == gitrotaGroup || isLikeGitrota(version)):
		f.problem(d, at(d, "kind"), ReasonMisplacedGuardrails, "guardrails in Git are not read: they would bind nobody who can change them",
			"remove them here, and give the file to the agent with --guardrails")
	case kind == secretKind && !strings.Contains(version, "/"):
		f.addSecret(d)
	case !isNull(sops) && (isEncrypted(version) || isEncrypted(kind)):
		f.problem(d, d.root, ReasonEncryptedMetadata, "SOPS has encrypted the kind of this document, so nobody can tell what it is", encryptHint)
	case kind == "List" && version == "v1":
		f.addItems(d)
	case kind == KindRequest:
		f.problem(d, at(d, "apiVersion"), ReasonUnsupportedAPIVersion,
			fmt.Sprintf("%s is not served in apiVersion %q", kind, version), "use "+RequestVersion)
	case group == opsGroup:
		hint := "gitrota serves " + RequestVersion + " " + KindRequest + " only; keep other requests out of its folder"
		if nearest(kind, []string{KindRequest}) != "" {
			hint = fmt.Sprintf("did you mean %q?", KindRequest)
		}
		f.problem(d, at(d, "kind"), ReasonUnknownKind, fmt.Sprintf("%s %q is not served by gitrota", version, kind), hint)
	case slices.Contains(gitrotaKinds, kind) && isLikeGitrota(version):
		f.problem(d, at(d, "apiVersion"), ReasonUnsupportedAPIVersion,
			fmt.Sprintf("%s is not served in apiVersion %q", kind, version), "use "+gitrotaVersion)
	case group == gitrotaGroup:
		hint := "the kinds are " + strings.Join(gitrotaKinds, ", ")
		if like := nearest(kind, gitrotaKinds); like != "" {
			hint = fmt.Sprintf("did you mean %q?", like)
		}
		f.problem(d, at(d, "kind"), ReasonUnknownKind,
			fmt.Sprintf("there is no kind %q in %s that this version of gitrota reads", kind, version), hint)
	}
}

// isLikeGitrota reports whether an apiVersion was meant to be gitrota's. Others may have a SQLServer, too.
func isLikeGitrota(version string) bool {
	group, _, grouped := strings.Cut(version, "/")
	return !grouped || nearest(group, []string{gitrotaGroup}) != ""
}

// addItems reads a List as if its items were documents.
func (f *File) addItems(d document) {
	_, items := get(d.root, "items")
	if items == nil || items.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range items.Content {
		if item.Kind == yaml.MappingNode && text(item, "kind") != "List" {
			f.add(document{d.path, item})
		}
	}
}

// at returns the node of a top-level key, or the document.
func at(d document, key string) *yaml.Node {
	if k, _ := get(d.root, key); k != nil {
		return k
	}
	return d.root
}
