package reconcile

import (
	"context"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// The annotations of an auth Secret, and what the keys of the previous credential end in (ops.kubedb.com and kubedb.com,
// apimachinery's constants).
const (
	suffixPrevious       = ".prev"
	annotationActiveFrom = "kubedb.com/auth-active-from"
	annotationRotation   = "gitrota.dev/rotation-id"
	annotationRolledBack = "gitrota.dev/rolled-back"
)

// maxPromotions bounds how often one run publishes. Once is the rule; another time for a lost answer or one overwriting.
const maxPromotions = 5

// promote publishes the new credential in one write, which keeps the auth Secret's name and its other keys.
func (r *rotation) promote(ctx context.Context, w world, _ step) error {
	if r.promotions++; r.promotions > maxPromotions {
		return overwritten(w.auth, w.target.AuthSecret)
	}
	return r.publish(ctx, w.auth, w.target.AuthSecret, w.keeper.Next, w.keeper.Live.Credential)
}

// restore publishes what the keeper calls live again, after somebody has deleted the auth Secret. Where nothing is staged
// and the administrator cannot compare passwords, a login proves it first, on every server that can be asked.
func (r *rotation) restore(ctx context.Context, w world, _ step) error {
	if r.promotions++; r.promotions > maxPromotions {
		return overwritten(w.auth, w.target.AuthSecret)
	}
	for _, replica := range w.replicas {
		if w.admin.IsZero() || !w.keeper.Next.IsZero() || !replica.connected || r.of(replica.Replica).facts.Compares {
			continue // it has said so, or cannot now
		}
		session, err := r.Servers.Open(ctx, replica.Endpoint, w.keeper.Live.Credential)
		if err != nil {
			return err
		}
		session.Close()
	}
	r.Log.Warn("the auth Secret was deleted and is written again", "secret", w.auth, "request", r.status.Request.Key())
	return r.publish(ctx, w.auth, w.target.AuthSecret, w.keeper.Live, w.keeper.Previous.Credential)
}

// publish writes a credential and the one before it into an auth Secret, if that is still what was read.
func (e *Engine) publish(ctx context.Context, auth Secret, keys manifest.SecretKeys, live Entry, previous credential.Credential) error {
	secret := auth.annotated(annotationActiveFrom, e.Clock.Now().UTC().Format(time.RFC3339))
	secret.Annotations[annotationRotation] = live.RotationID
	secret.Data[keys.UsernameKey] = credential.NewPassword(live.Username)
	secret.Data[keys.PasswordKey] = live.Password
	secret.Data[keys.UsernameKey+suffixPrevious] = credential.NewPassword(previous.Username)
	secret.Data[keys.PasswordKey+suffixPrevious] = previous.Password
	if secret.UID == "" {
		// Somebody deleted it while the rotation ran. Users wait for this name, so it comes back.
		secret.Type = "Opaque"
		if keys == basicAuth(keys.Name) {
			secret.Type = "kubernetes.io/basic-auth"
		}
		_, err := e.Cluster.CreateSecret(ctx, secret)
		return err
	}
	_, err := e.Cluster.UpdateSecret(ctx, secret)
	return err
}

// annotated returns a copy of the Secret with an annotation, whose maps may be written to.
func (s Secret) annotated(name, value string) Secret {
	s = s.clone()
	if s.Data == nil {
		s.Data = map[string]credential.Password{}
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[name] = value
	return s
}

// repair notes what was found in the auth Secret after the promotion, so that it is published once more and no second
// time.
func (r *rotation) repair(ctx context.Context, w world, _ step) error {
	writer := w.auth.writer(w.target.AuthSecret)
	r.Log.Warn("the auth Secret was overwritten in the middle of the rotation", "secret", w.auth, "writer", writer)
	keeper := w.keeper
	keeper.Repaired = &Overwrite{Version: w.auth.version(), Writer: writer}
	if w.auth.UID != "" {
		keeper.Restart = nil // a pod that has started in the meantime took what it found; without a Secret none has started
	}
	return r.keep(ctx, keeper)
}

// overwritten is why a rotation ends whose result somebody keeps overwriting.
func overwritten(auth Secret, keys manifest.SecretKeys) *fault.Error {
	return fault.New(fault.Refuse, ReasonAuthSecretOverwritten, "keep that writer off the Secret: take its data out of that tool's manifests, or let it ignore them",
		"the Secret %s/%s was overwritten by %s after the new credential had been published, and again after it was repaired once", auth.Namespace, auth.Name, auth.writer(keys))
}
