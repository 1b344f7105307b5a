package manifest

import (
	"regexp"

	"go.yaml.in/yaml/v3"
)

var rollbackFields = []string{"databaseRef", "rotationId", "timeout", "apply", "maxRetries"}

var isRotationID = regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString

// readRollback reads the spec of a RotationRollback.
func (r *Request) readRollback(in *reader, root *yaml.Node) {
	r.Spec = Spec{Apply: ApplyIfReady, MaxRetries: 1}
	_, spec := get(root, "spec")
	if isNull(spec) || spec.Kind != yaml.MappingNode {
		in.problem(root, ReasonMissingField, "spec is missing", "give spec.databaseRef.name")
		return
	}
	in.known(spec, "spec", rollbackFields)
	r.readDatabaseRef(in, spec, "name the database whose last rotation is to be undone")
	r.readManner(in, spec)
	id, ok := in.str(spec, "rotationId", "spec.rotationId")
	if !ok || id == "" {
		return
	}
	if !isRotationID(id) {
		_, value := get(spec, "rotationId")
		in.problem(value, ReasonInvalidField, "spec.rotationId is not a rotation id",
			"copy the 32 hexadecimal digits of the annotation gitrota.dev/rotation-id from the status file of the rotation to undo")
		return
	}
	r.Spec.RotationID = id
}
