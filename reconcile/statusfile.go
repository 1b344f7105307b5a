package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// The annotations that gitrota adds to a request in its status file.
const (
	annotationSourceCommit = "gitrota.dev/source-commit"
	annotationSourceAuthor = "gitrota.dev/source-author"
	annotationSourceSigner = "gitrota.dev/source-signer" // who signed the source commit, as was checked
	annotationSourcePath   = "gitrota.dev/source-path"   // path:line
	annotationSourceMerge  = "gitrota.dev/source-merge"  // the commit that merged it into the branch, and who did
	annotationApprovedBy   = "gitrota.dev/approved-by"   // a line for each approval
	annotationServer       = "gitrota.dev/server"        // what the SQLServer document said when the request was taken up, as JSON
)

// statusHeader tells a reader, and a tool that applies everything it finds, what the file is.
const statusHeader = "# Written by gitrota: the request and how it went. Do not edit or apply it.\n"

// StatusPath is the path of a request's status file below the status path.
func StatusPath(statusPath string, r Request) string {
	return path.Join(statusPath, r.Namespace, r.Name+".yaml")
}

// manifestStatus is the status of a MSSQLServerOpsRequest as KubeDB defines it.
type manifestStatus struct {
	Phase              Phase       `json:"phase"`
	ObservedGeneration int64       `json:"observedGeneration"`
	Conditions         []Condition `json:"conditions,omitempty"`
}

// marshalStatus writes a status file: the request as its author wrote it, with its status, as kubectl get -o yaml would
// show it. Equal statuses give equal bytes.
func marshalStatus(s Status) ([]byte, error) {
	object := maps.Clone(s.Request.Manifest)
	if object == nil {
		object = map[string]any{}
	}
	metadata, _ := object["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["namespace"], metadata["name"] = s.Request.Namespace, s.Request.Name
	annotations := map[string]any{}
	if own, ok := metadata["annotations"].(map[string]any); ok {
		annotations = maps.Clone(own)
	}
	source := s.Request.Source
	place := ""
	if source.Path != "" {
		place = fmt.Sprintf("%s:%d", source.Path, source.Line)
	}
	server := ""
	if source := s.Request.Server; source != nil {
		text, err := json.Marshal(source)
		if err != nil {
			return nil, fmt.Errorf("writing the status of %s: %w", s.Request.Key(), err)
		}
		server = string(text)
	}
	for name, value := range map[string]string{
		annotationServer: server, annotationRotation: s.Request.ID, annotationSourceCommit: source.Commit,
		annotationSourceAuthor: source.Author, annotationSourceSigner: source.Signer, annotationSourcePath: place,
		annotationSourceMerge: strings.TrimSpace(source.Merge + " " + source.Merger), annotationApprovedBy: strings.Join(s.Request.ApprovedBy, "\n"),
	} {
		// What an author writes under gitrota's names is no word of gitrota's.
		delete(annotations, name)
		if value != "" {
			annotations[name] = value
		}
	}
	delete(metadata, "annotations")
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	object["metadata"] = metadata
	object["status"] = manifestStatus{Phase: s.Phase, ObservedGeneration: 1, Conditions: s.Conditions}
	body, err := yaml.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("writing the status of %s: %w", s.Request.Key(), err)
	}
	return append([]byte(statusHeader), body...), nil
}

// ParseStatus reads a status file back, as far as it matters for serving the request on. A file without a status.phase
// is an error.
func ParseStatus(content []byte) (Status, error) {
	text, err := yaml.YAMLToJSON(content)
	if err != nil {
		return Status{}, fmt.Errorf("reading a status file: %w", err)
	}
	var object struct{ Status manifestStatus }
	var written map[string]any
	if err := errors.Join(json.Unmarshal(text, &object), json.Unmarshal(text, &written)); err != nil {
		return Status{}, fmt.Errorf("reading a status file: %w", err)
	}
	delete(written, "status")
	if object.Status.Phase == "" {
		return Status{}, fmt.Errorf("reading a status file: it has no status.phase")
	}
	annotations := map[string]string{}
	for _, name := range []string{annotationRotation, annotationServer, annotationSourceCommit, annotationSourceAuthor, annotationSourcePath, annotationSourceSigner, annotationSourceMerge, annotationApprovedBy} {
		annotations[name] = stringAt(written, "metadata", "annotations", name)
	}
	request := Request{
		Kind: stringAt(written, "kind"), Undo: stringAt(written, "spec", "rotationId"),
		Namespace: stringAt(written, "metadata", "namespace"), Name: stringAt(written, "metadata", "name"), ID: annotations[annotationRotation],
		Database: stringAt(written, "spec", "databaseRef", "name"), SecretRef: stringAt(written, "spec", "authentication", "secretRef", "name"),
		Always: stringAt(written, "spec", "apply") == manifest.ApplyAlways, MaxRetries: 1,
		Manifest: written,
		Source:   Source{Commit: annotations[annotationSourceCommit], Author: annotations[annotationSourceAuthor], Signer: annotations[annotationSourceSigner]},
	}
	if !manifest.IsName(request.Database) {
		request.Database = "" // as of the request itself
	}
	request.Source.Merge, request.Source.Merger, _ = strings.Cut(annotations[annotationSourceMerge], " ")
	if by := annotations[annotationApprovedBy]; by != "" {
		request.ApprovedBy = strings.Split(by, "\n")
	}
	request.Timeout, _ = time.ParseDuration(stringAt(written, "spec", "timeout"))
	if spec, _ := written["spec"].(map[string]any); spec != nil {
		if retries, ok := spec["maxRetries"].(float64); ok {
			request.MaxRetries = int(retries)
		}
	}
	if text := annotations[annotationServer]; text != "" {
		if err := json.Unmarshal([]byte(text), &request.Server); err != nil {
			return Status{}, fmt.Errorf("reading a status file: its annotation %s: %w", annotationServer, err)
		}
	}
	if place := annotations[annotationSourcePath]; strings.Contains(place, ":") {
		colon := strings.LastIndex(place, ":") // a path may have some, too
		request.Source.Path = place[:colon]
		request.Source.Line, _ = strconv.Atoi(place[colon+1:])
	}
	return Status{Request: request, Phase: object.Status.Phase, Conditions: object.Status.Conditions}, nil
}

// stringAt returns the string at a path of an object; "" where there is none, or something else. A request that is denied
// may have anything anywhere, and its status has to be read all the same: one that could not be read would be written
// again for ever.
func stringAt(object map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		object, _ = object[name].(map[string]any)
	}
	text, _ := object[path[len(path)-1]].(string)
	return text
}

// equal compares what two statuses would write.
func equal(a, b Status) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
