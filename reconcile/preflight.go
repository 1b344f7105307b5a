package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// preflight is what has to hold before anything is touched, cheap and certain checks first. A check that returns an
// error of class Wait is waited for; every other error ends the request.
var preflight = []func(world) *fault.Error{
	requestFits,        // the keeper has room for its record
	topologyServed,     // gitrota knows how to rotate this kind of database
	endpointsAllowed,   // whoever installed gitrota lets it send credentials there
	permissionsGranted, // Kubernetes lets gitrota take every later step
	authSecretUsable,   // there is a live credential to start from, and it may be replaced
	authSecretOurs,     // nobody else looks after it
	loginOfPair,        // the live login is one of the two that take turns
	previousKnown,      // a rollback has something to go back to
	suppliedUsable,     // the user's credential was found and could be read
	usernameUnchanged,  // a rotation changes a password, not a login
	passwordStrong,     // SQL Server, every client and the policies take the user's password
	passwordNew,        // it is none of the last ones, also where somebody brings an old file back
	pausedByOther,      // nobody else is working on the database
	databaseReady,      // spec.apply: IfReady
}

// atTheServers is what has to hold once a session is open on every replica, and can be known only then.
var atTheServers = []func(world) *fault.Error{
	authRestorable,  // the servers accept what the auth Secret is to hold again
	passwordChanges, // there is something to do
	groupComplete,   // no member of the availability group is forgotten
}

// deniedFor lists the reasons that are a verdict on the request itself: its phase is Denied, not Failed.
var deniedFor = map[string]bool{
	ReasonRequestTooLarge: true, ReasonTopology: true, ReasonEndpoint: true, ReasonAuthSecretForeign: true, ReasonNothingToRollBack: true, ReasonUsernameChanged: true, ReasonPasswordUnchanged: true, ReasonWeakPassword: true, ReasonPasswordReused: true,
	ReasonSuppliedSecret: true, manifest.ReasonPlaintextSecret: true, manifest.ReasonEncryptedMetadata: true,
	manifest.ReasonInvalidSecret: true, manifest.ReasonNotAString: true, manifest.ReasonUndecryptable: true,
	manifest.ReasonUnusableSecret: true, manifest.ReasonDuplicateName: true, manifest.ReasonUnknownField: true,
	manifest.ReasonMissingField: true, manifest.ReasonInvalidField: true,
}

func topologyServed(w world) *fault.Error {
	if !w.target.KubeDB() || w.target.Mode == "" && w.target.Replicas == 1 || w.target.Mode == modeAvailabilityGroup {
		return nil
	}
	return fault.New(fault.Refuse, ReasonTopology, "rotate each side by its own SQLServer document in Git",
		"%s has the topology %q with %d replicas; gitrota rotates standalone servers and availability groups",
		w.target, w.target.Mode, w.target.Replicas)
}

// modeAvailabilityGroup is KubeDB's spec.topology.mode of a group.
const modeAvailabilityGroup = "AvailabilityGroup"

func endpointsAllowed(w world) *fault.Error {
	if len(w.strangers) == 0 {
		return nil
	}
	return fault.New(fault.Refuse, ReasonEndpoint, "let whoever runs gitrota add it to --allow-hosts, or correct the endpoint",
		"%s sends its credential to %s, which is not on the list of hosts that gitrota may connect to", w.target, strings.Join(w.strangers, ", "))
}

func permissionsGranted(w world) *fault.Error {
	if len(w.missing) == 0 {
		return nil
	}
	hint := "bind the ClusterRole of gitrota's install manifests to its ServiceAccount"
	if slices.ContainsFunc(w.missing, func(right string) bool { return strings.HasPrefix(right, "patch ") }) {
		hint = "apply the component consumers of gitrota's install manifests too, which lets it restart workloads"
	}
	err := fault.New(fault.Wait, ReasonPermissions, hint,
		"in the namespace %s gitrota may not: %s", w.target.Namespace, strings.Join(w.missing, ", "))
	err.Err = ErrForbidden
	return err
}

func authSecretUsable(w world) *fault.Error {
	name := w.target.Namespace + "/" + w.target.AuthSecret.Name
	live := w.auth.credential(w.target.AuthSecret)
	switch {
	case w.authLost() && !w.auth.Immutable:
		return nil // it is restored, once the servers have said that the keeper is right
	case w.auth.UID == "":
		return fault.New(fault.Refuse, ReasonAuthSecret, "create it with the credential that the server accepts now", "the auth Secret %s does not exist", name)
	case live.Username == "" || live.Password.IsZero():
		return fault.New(fault.Refuse, ReasonAuthSecret, "write the credential that the server accepts now",
			"the auth Secret %s lacks %s or %s", name, w.target.AuthSecret.UsernameKey, w.target.AuthSecret.PasswordKey)
	case w.auth.Immutable:
		return fault.New(fault.Refuse, ReasonAuthSecret, "replace it by one that is not immutable", "the auth Secret %s is immutable, so the new password could not be published", name)
	}
	return nil
}

// authRestorable refuses to make an auth Secret of a credential that no server has accepted.
func authRestorable(w world) *fault.Error {
	if !w.authLost() || w.live == w.keeper.Live.Credential {
		return nil
	}
	return fault.New(fault.Refuse, ReasonAuthSecret, "create it with the credential that the server accepts now",
		"the auth Secret %s/%s was deleted or emptied, and the servers do not accept live.password of its keeper", w.target.Namespace, w.target.AuthSecret.Name)
}

// authSecretOurs refuses to write what somebody else looks after: it would be overwritten again, or break the other.
func authSecretOurs(w world) *fault.Error {
	name := w.target.Namespace + "/" + w.target.AuthSecret.Name
	foreign := func(hint, why string) *fault.Error {
		return fault.New(fault.Refuse, ReasonAuthSecretForeign, hint, "the auth Secret %s %s", name, why)
	}
	if w.target.ExternallyManaged {
		return foreign("rotate where the Secret comes from, or set spec.authSecret.externallyManaged to false",
			"is managed by somebody else, as spec.authSecret.externallyManaged of "+w.target.String()+" says")
	}
	for _, owner := range w.auth.Owners {
		own := owner.Kind == w.target.Kind && owner.Name == w.target.Name
		if (owner.Controller || owner.Kind == manifest.KindMSSQLServer) && !own {
			return foreign("rotate where the Secret comes from", "belongs to "+owner.Kind+" "+owner.Name+", which may write it at any time")
		}
	}
	if instance := w.auth.Labels["app.kubernetes.io/instance"]; w.auth.Labels["app.kubernetes.io/name"] == "mssqlservers.kubedb.com" && instance != w.target.Name {
		return foreign("give each database a Secret of its own", "belongs to another database, MSSQLServer "+instance)
	}
	return nil
}

func loginOfPair(w world) *fault.Error {
	live := w.authUsername()
	if len(w.target.LoginPair) == 0 || slices.Contains(w.target.LoginPair, live) {
		return nil
	}
	return fault.New(fault.Refuse, ReasonAuthSecret, "write the login that clients use now into the Secret, or correct spec.loginPair",
		"the auth Secret %s/%s has the username %q, which is none of the pair %s", w.target.Namespace, w.target.AuthSecret.Name, live, strings.Join(w.target.LoginPair, " and "))
}

func previousKnown(w world) *fault.Error {
	request := w.status.Request
	switch {
	case request.Kind != manifest.KindRollback:
		return nil
	case w.keeper.Previous.IsZero():
		return fault.New(fault.Refuse, ReasonNothingToRollBack, "rotate instead: add a MSSQLServerOpsRequest of type RotateAuth",
			"gitrota knows no previous credential of %s", w.target)
	case request.Undo != "" && request.Undo != w.keeper.Live.RotationID:
		return fault.New(fault.Refuse, ReasonNothingToRollBack, "see the status files for what came after it",
			"the rotation %s is not the latest of %s any more, so it cannot be undone", request.Undo, w.target)
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
	wanted := w.nextUsername()
	if w.supplied.Credential.IsZero() || w.supplied.Credential.Username == wanted {
		return nil
	}
	if len(w.target.LoginPair) > 0 {
		return fault.New(fault.Refuse, ReasonUsernameChanged, "set its username to that one",
			"the Secret (%s) has the username %q, and of the pair it is the turn of %q", w.supplied.From, w.supplied.Credential.Username, wanted)
	}
	return fault.New(fault.Refuse, ReasonUsernameChanged, "set its username to the live one",
		"database username cannot be changed: the Secret (%s) has the username %q, the live one is %q",
		w.supplied.From, w.supplied.Credential.Username, wanted)
}

func passwordStrong(w world) *fault.Error {
	if w.supplied.Credential.IsZero() {
		return nil
	}
	rules := w.status.Request.passwordRules()
	rules.DenyList = slices.Concat(rules.DenyList, w.denied)
	if err := credential.Check(w.supplied.Credential, rules); err != nil {
		return fault.New(fault.Refuse, ReasonWeakPassword, "supply another password under a new request", "the Secret (%s): %v", w.supplied.From, err)
	}
	return nil
}

func passwordNew(w world) *fault.Error {
	if !w.reused {
		return nil
	}
	last := "the last password"
	if n := w.status.Request.passwordRules().Reuse; n > 1 {
		last = fmt.Sprintf("one of the last %d passwords", n)
	}
	return fault.New(fault.Refuse, ReasonPasswordReused, "supply another password under a new request",
		"the Secret (%s) holds %s of %s", w.supplied.From, last, w.status.Request.DatabaseKey())
}

func passwordChanges(w world) *fault.Error {
	if w.supplied.Credential.IsZero() || w.supplied.Credential.Password != w.live.Password {
		return nil
	}
	return fault.New(fault.Refuse, ReasonPasswordUnchanged, "supply another password under a new request",
		"the Secret (%s) holds the password that is live already", w.supplied.From)
}

func pausedByOther(w world) *fault.Error {
	if !w.target.Paused || w.pausedByUs {
		return nil
	}
	return fault.New(fault.Wait, ReasonPausedByOther, "wait for whoever paused it, or remove its condition Paused",
		"%s is paused: %q", w.target, w.target.PauseReason)
}

func databaseReady(w world) *fault.Error {
	if w.status.Request.Always || !w.target.KubeDB() || w.target.Phase == "Ready" {
		return nil
	}
	phase := w.target.Phase
	if phase == "" {
		phase = "unknown"
	}
	return fault.New(fault.Wait, ReasonDatabaseNotReady, "see kubectl describe ms, or rotate regardless with spec.apply: Always",
		"%s is not Ready: its phase is %s", w.target, phase)
}

// groupComplete waits for members of an availability group that gitrota has not found: a failover to one of them would
// bring the old password back.
func groupComplete(w world) *fault.Error {
	if len(w.absent) == 0 {
		return nil
	}
	return fault.New(fault.Wait, ReasonReplicaUnknown, "see sys.availability_replicas, and kubectl get pods",
		"the availability group %q has a member that gitrota finds no server for: %s", w.group.Name, strings.Join(w.absent, ", "))
}
