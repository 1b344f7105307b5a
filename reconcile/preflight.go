package reconcile

import (
	"strings"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// preflight is what has to hold before anything is touched, cheap and certain checks first. A check that returns an
// error of class Wait is waited for; every other error ends the request.
var preflight = []func(world) *fault.Error{
	topologyServed,     // gitrota knows how to rotate this kind of database
	permissionsGranted, // Kubernetes lets gitrota take every later step
	authSecretUsable,   // there is a live credential to start from, and it may be replaced
	suppliedUsable,     // the user's credential was found and could be read
	usernameUnchanged,  // a rotation changes a password, not a login
	passwordStrong,     // SQL Server and every client take the user's password
	pausedByOther,      // nobody else is working on the database
	databaseReady,      // spec.apply: IfReady
}

// deniedFor lists the reasons that are a verdict on the request itself: its phase is Denied, not Failed.
var deniedFor = map[string]bool{
	ReasonTopology: true, ReasonUsernameChanged: true, ReasonPasswordUnchanged: true, ReasonWeakPassword: true,
	ReasonSuppliedSecret: true, manifest.ReasonPlaintextSecret: true, manifest.ReasonEncryptedMetadata: true,
	manifest.ReasonInvalidSecret: true, manifest.ReasonNotAString: true, manifest.ReasonUndecryptable: true,
	manifest.ReasonUnusableSecret: true, manifest.ReasonDuplicateName: true, manifest.ReasonUnknownField: true,
	manifest.ReasonMissingField: true, manifest.ReasonInvalidField: true,
}

func topologyServed(w world) *fault.Error {
	if w.db.Mode == "" && w.db.Replicas == 1 {
		return nil
	}
	return fault.New(fault.Refuse, ReasonTopology, "rotate it by hand",
		"MSSQLServer %s/%s is not a standalone server (topology %q, %d replicas); gitrota rotates standalone servers",
		w.db.Namespace, w.db.Name, w.db.Mode, w.db.Replicas)
}

func permissionsGranted(w world) *fault.Error {
	if len(w.missing) == 0 {
		return nil
	}
	return fault.New(fault.Refuse, ReasonPermissions, "bind the ClusterRole of gitrota's install manifests to its ServiceAccount",
		"in the namespace %s gitrota may not: %s", w.db.Namespace, strings.Join(w.missing, ", "))
}

func authSecretUsable(w world) *fault.Error {
	name := w.db.Namespace + "/" + w.db.AuthSecret.Name
	live := w.auth.credential(w.db.AuthSecret)
	switch {
	case w.auth.UID == "":
		return fault.New(fault.Refuse, ReasonAuthSecret, "create it with the credential that the server accepts now", "the auth Secret %s does not exist", name)
	case live.Username == "" || live.Password.IsZero():
		return fault.New(fault.Refuse, ReasonAuthSecret, "write the credential that the server accepts now", "the auth Secret %s lacks username or password", name)
	case w.auth.Immutable:
		return fault.New(fault.Refuse, ReasonAuthSecret, "replace it by one that is not immutable", "the auth Secret %s is immutable, so the new password could not be published", name)
	}
	return nil
}

func suppliedUsable(w world) *fault.Error {
	if w.supplied.Err == nil {
		return nil
	}
	return fault.As(w.supplied.Err)
}

func usernameUnchanged(w world) *fault.Error {
	if w.supplied.Credential.IsZero() || w.supplied.Credential.Username == w.auth.credential(w.db.AuthSecret).Username {
		return nil
	}
	return fault.New(fault.Refuse, ReasonUsernameChanged, "set its username to the live one",
		"database username cannot be changed: the Secret (%s) has the username %q, the live one is %q",
		w.supplied.From, w.supplied.Credential.Username, w.auth.credential(w.db.AuthSecret).Username)
}

func passwordStrong(w world) *fault.Error {
	if w.supplied.Credential.IsZero() {
		return nil
	}
	if err := credential.Check(w.supplied.Credential); err != nil {
		return fault.New(fault.Refuse, ReasonWeakPassword, "supply another password under a new request", "the Secret (%s): %v", w.supplied.From, err)
	}
	return nil
}

// passwordChanges comes after the sessions are open, since only then it is known which credential is live.
func passwordChanges(w world) *fault.Error {
	if w.supplied.Credential.IsZero() || w.supplied.Credential.Password != w.live.Password {
		return nil
	}
	return fault.New(fault.Refuse, ReasonPasswordUnchanged, "supply another password under a new request",
		"the Secret (%s) holds the password that is live already", w.supplied.From)
}

func pausedByOther(w world) *fault.Error {
	if !w.db.Paused || w.pausedByUs {
		return nil
	}
	return fault.New(fault.Wait, ReasonPausedByOther, "wait for whoever paused it, or remove its condition Paused",
		"MSSQLServer %s/%s is paused: %q", w.db.Namespace, w.db.Name, w.db.PauseReason)
}

func databaseReady(w world) *fault.Error {
	if w.status.Request.Always || w.db.Phase == "Ready" {
		return nil
	}
	phase := w.db.Phase
	if phase == "" {
		phase = "unknown"
	}
	return fault.New(fault.Wait, ReasonDatabaseNotReady, "see kubectl describe ms, or rotate regardless with spec.apply: Always",
		"MSSQLServer %s/%s is not Ready: its phase is %s", w.db.Namespace, w.db.Name, phase)
}
