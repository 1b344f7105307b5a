package reconcile

// The conditions of a request. Types, reasons and messages of the first group are those of KubeDB's RotateAuth, which
// people and dashboards already know; the second group is gitrota's own. Where a type says nothing about its reason,
// type and reason are the same.
const (
	// TypeApproved: whether the request has the word that policies and guardrails ask for, and whose. Its reason is one of
	// package approval's.
	TypeApproved = "Approved"
	// TypeRotateAuth: the request was taken up.
	TypeRotateAuth = "RotateAuth"
	// TypePaused: KubeDB leaves the database alone until gitrota resumes it.
	TypePaused = "DatabasePauseSucceeded"
	// TypeUpdateCredential: the new credential was generated or taken from the user.
	TypeUpdateCredential = "UpdateCredential"
	// TypeUpdatePetSets: the pods that will start take the new credential.
	TypeUpdatePetSets = "UpdatePetSets"
	// TypeGetPod, TypeEvictPod and TypeCheckPodRunning end in "--" and the pod's name, and have no reason.
	TypeGetPod          = "GetPod--"
	TypeEvictPod        = "EvictPod--"
	TypeCheckPodRunning = "CheckPodRunning--"
	// TypeRestartNodes: every pod that carried the old password in its environment was restarted.
	TypeRestartNodes = "RestartNodes"
	// TypeSuccessful and TypeFailed end a request. The reason of Failed says why, for example ReasonTimeout.
	TypeSuccessful = "Successful"
	TypeFailed     = "Failed"
	// TypeSkipped: a newer request for the same database took this one's place.
	TypeSkipped = "Skipped"

	// TypeStaged: the new credential is safe in the keeper; no server knows it yet.
	TypeStaged = "CredentialStaged"
	// TypeApplied ends in "--" and the replica's name: the replica accepts the new credential. Its reason is ReasonApplied.
	TypeApplied   = "CredentialApplied--"
	ReasonApplied = "CredentialApplied"
	// TypePromoted: the auth Secret holds the new credential.
	TypePromoted = "CredentialPromoted"
	// TypeVerified: a fresh login with the new credential opened every replica.
	TypeVerified = "CredentialVerified"
	// TypePreviousRejected: no replica accepts the previous credential any more.
	TypePreviousRejected = "PreviousCredentialRejected"
	// TypeConsumersRestarted: the workloads that use the auth Secret run with the new credential. False, if some of them
	// run no pods or do not replace them.
	TypeConsumersRestarted = "ConsumersRestarted"
	// TypeRetired: of a pair of logins, the one that was switched away from has a password that nobody uses.
	TypeRetired = "PreviousLoginRetired"
	// TypeRolledBack: every replica that had taken the new credential has the previous one again.
	TypeRolledBack = "RolledBack"
	// TypeOverwritten: somebody has written another credential into the auth Secret; the message says who. False, once it
	// holds the right one again.
	TypeOverwritten = "AuthSecretOverwritten"
	// TypeResumed: KubeDB looks after the database again.
	TypeResumed = "DatabaseResumed"
	// TypeDenied: the request may not run as it is; nothing was touched.
	TypeDenied = "Denied"
	// TypeWaiting: what the request waits for before it starts.
	TypeWaiting = "Waiting"
	// TypeRecoveryRequired: gitrota cannot tell which credential a replica accepts; a person has to look. The message
	// names the replica, the keeper's keys and the command to run.
	TypeRecoveryRequired = "RecoveryRequired"
	// TypeRequestChanged: the manifest of a request that has run was changed, which does nothing.
	TypeRequestChanged = "RequestChanged"
)

// The reasons of Failed, Denied and Waiting that arise here; others come with the error, from reconcile/mssql and
// reconcile/kube, or with a manifest's problem.
const (
	// ReasonScheduled, of Approved: a schedule asks for the request.
	ReasonScheduled = "Scheduled"
	// ReasonPolicyNotApproved: a policy was changed, and the change lacks an approval. What it said before is in force.
	ReasonPolicyNotApproved = "PolicyNotApproved"
	// ReasonTimeout: a step did not end within spec.timeout.
	ReasonTimeout = "Timeout"
	// ReasonNoProgress: a step was taken again and again and left everything as it was.
	ReasonNoProgress = "NoProgress"
	// ReasonDatabaseNotFound: spec.databaseRef names no MSSQLServer.
	ReasonDatabaseNotFound = "DatabaseNotFound"
	// ReasonDatabaseNotReady: the database's phase is not Ready, and spec.apply is IfReady.
	ReasonDatabaseNotReady = "DatabaseNotReady"
	// ReasonPausedByOther: somebody else has paused the database.
	ReasonPausedByOther = "DatabasePaused"
	// ReasonEndpoint: a SQLServer document names a host that gitrota may not connect to.
	ReasonEndpoint = "EndpointNotAllowed"
	// ReasonAuthSecretForeign: somebody else looks after the auth Secret, or it is another database's.
	ReasonAuthSecretForeign = "AuthSecretForeign"
	// ReasonAuthSecretOverwritten: somebody has written another credential into the auth Secret.
	ReasonAuthSecretOverwritten = "AuthSecretOverwritten"
	// ReasonNothingToRollBack: a rollback finds no previous credential, or another rotation came in between.
	ReasonNothingToRollBack = "NothingToRollBack"
	// ReasonReplicaUnknown: the availability group has a member that gitrota has not found.
	ReasonReplicaUnknown = "ReplicaUnknown"
	// ReasonGroupUnhealthy: the availability group is not healthy, so that no further pod is restarted.
	ReasonGroupUnhealthy = "GroupUnhealthy"
	// ReasonConsumers: a workload that uses the auth Secret did not come back with the new credential.
	ReasonConsumers = "ConsumersNotReady"
	// ReasonSignatureMissing, ReasonSignatureUntrusted and ReasonSignatureInvalid: a commit that brought the request, or a
	// file that it rests on, is not signed, not by an allowed signer, or not so that it could be checked.
	ReasonSignatureMissing   = "SignatureMissing"
	ReasonSignatureUntrusted = "SignatureUntrusted"
	ReasonSignatureInvalid   = "SignatureInvalid"
	// ReasonRequestTooLarge: the keeper has no room for the record of a request as long as this one.
	ReasonRequestTooLarge = "RequestTooLarge"
	// ReasonTopology: the database is of a topology that gitrota does not rotate.
	ReasonTopology = "TopologyNotSupported"
	// ReasonAuthSecret: the auth Secret is missing, or does not hold what it should.
	ReasonAuthSecret = "AuthSecretUnusable"
	// ReasonAdminSecret: the Secret with the administrator's login is missing, or does not hold what it should.
	ReasonAdminSecret = "AdminSecretUnusable"
	// ReasonSuppliedSecret: the Secret that spec.authentication names is missing or does not hold what it should.
	ReasonSuppliedSecret = "SuppliedSecretUnusable"
	// ReasonUsernameChanged: the supplied username is not the live one (KubeDB: "database username cannot be changed").
	ReasonUsernameChanged = "UsernameChanged"
	// ReasonPasswordUnchanged: the supplied password is the live one.
	ReasonPasswordUnchanged = "PasswordUnchanged"
	// ReasonPasswordReused: the supplied password is one of the last ones, as far back as the policy looks.
	ReasonPasswordReused = "PasswordReused"
	// ReasonEscrow: the generated password cannot be encrypted for those who keep it.
	ReasonEscrow = "EscrowFailed"
	// ReasonWeakPassword: the supplied password breaks a rule.
	ReasonWeakPassword = "PasswordUnusable"
	// ReasonRefused: the API server refuses what gitrota's role allows: an admission policy, a webhook, a quota.
	ReasonRefused = "RefusedByCluster"
	// ReasonPermissions: Kubernetes does not let gitrota do what a rotation needs.
	ReasonPermissions = "PermissionMissing"
	// ReasonNotVerified: a replica refuses the new credential, or still accepts the previous one.
	ReasonNotVerified = "NotVerified"
	// ReasonKeeperDamaged: the keeper Secret cannot be read as one.
	ReasonKeeperDamaged = "KeeperDamaged"
	// ReasonImmutable: a finished request's manifest changed.
	ReasonImmutable = "SpecImmutable"
	// ReasonWithdrawn: the manifest was removed before the request began.
	ReasonWithdrawn = "Withdrawn"
	// ReasonQueued: another request for the same database runs.
	ReasonQueued = "Queued"
)
