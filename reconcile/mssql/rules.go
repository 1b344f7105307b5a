package mssql

import "github.com/gitrota/gitrota/reconcile/fault"

type rule struct {
	class  fault.Class
	reason string
	what   string // completes "<server>: ", with %q for the login
	hint   string
}

const (
	unlock    = "find who sent wrong passwords, then unlock it: ALTER LOGIN ... WITH PASSWORD = '...' UNLOCK"
	change    = "change it on the server and put the new one into the auth Secret"
	tooRecent = "wait for the policy's minimum password age and add a new request"
	longer    = "use a longer one"
	shorter   = "use a shorter one"
	mix       = "mix upper case, lower case, digits and symbols"
	askFilter = "ask who runs the server what its filter wants"
	control   = "grant CONTROL SERVER"
	useLogin  = "take the login of the server in place of a user: no contained database holds it"
	failover  = "connect to the primary, or wait until the failover is over"
)

// rules maps SQL Server's error numbers (sys.messages; "Database Engine errors", SQL Server documentation) to what a
// rotation does about them.
var rules = map[int32]rule{
	// Nobody can log in, for now.
	18401: {fault.Wait, ReasonStarting, "is in script upgrade mode (error 18401)", ""},
	18451: {fault.Wait, ReasonStarting, "takes only administrators at this time (error 18451)", ""},
	18461: {fault.Wait, ReasonStarting, "is in single-user mode (error 18461)", ""},
	6005:  {fault.Wait, ReasonStarting, "is shutting down (error 6005)", ""},
	17142: {fault.Wait, ReasonStarting, "has been paused (error 17142)", ""},
	40613: {fault.Wait, ReasonStarting, "says that its database is not available at this time (error 40613)", ""},

	// The database to begin in. The server sends 18456 after these, which then says nothing about the password.
	4060: {fault.Wait, ReasonDatabase, "could not open the database for %q (error 4060)", "check that the database exists and is online, and that the login has a user in it"},
	976:  {fault.Wait, ReasonDatabase, "is a secondary that keeps the availability group's databases closed (error 976)", failover},
	983:  {fault.Wait, ReasonDatabase, "is neither primary nor secondary of its availability group now (error 983)", failover},

	// The login.
	18456: {fault.Stop, ReasonRefusedLogin, "refused the login of %q (error 18456): the password is not the one that the server has", ""},
	18452: {fault.Stop, ReasonWindowsOnly, "takes Windows logins only (error 18452)", "enable SQL Server authentication (mixed mode) on it"},
	18470: {fault.Stop, ReasonDisabled, "has the login %q disabled (error 18470)", "enable it: ALTER LOGIN ... ENABLE"},
	18486: {fault.Stop, ReasonLocked, "has the login %q locked out (error 18486)", unlock},
	15113: {fault.Stop, ReasonLocked, "has the login %q locked out (error 15113)", unlock},
	18487: {fault.Stop, ReasonExpired, "says that the password of %q has expired (error 18487)", change},
	18488: {fault.Stop, ReasonExpired, "says that the password of %q must be changed (error 18488)", change},
	// A pool's own business: the agent has none, and opens a new session.
	18056: {fault.Retry, ReasonUnreachable, "could not reuse a session of %q (error 18056)", ""},

	// The new password, in ALTER LOGIN: by Windows or the password filter, and by SQL Server's own policy on Linux.
	15114: {fault.Refuse, ReasonPolicy, "says that the password of %q was changed too recently (error 15114)", tooRecent},
	15115: {fault.Refuse, ReasonPolicy, "says that this password of %q cannot be used now (error 15115): it is in the password history", "use another one"},
	15116: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too short (error 15116)", longer},
	15117: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too long (error 15117)", shorter},
	15118: {fault.Refuse, ReasonPolicy, "refused the new password of %q as not complex enough (error 15118)", mix},
	15119: {fault.Refuse, ReasonPolicy, "refused the new password of %q by its password filter (error 15119)", askFilter},
	15156: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too long (error 15156)", "use 128 characters at most"},
	33062: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too short (error 33062)", longer},
	33063: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too long (error 33063)", shorter},
	33064: {fault.Refuse, ReasonPolicy, "refused the new password of %q as not complex enough (error 33064)", mix},

	// The new password, in a change while logging in.
	18462: {fault.Refuse, ReasonPolicy, "says that the password of %q was changed too recently (error 18462)", tooRecent},
	18463: {fault.Refuse, ReasonPolicy, "says that this password of %q cannot be used now (error 18463): it is in the password history", "use another one"},
	18464: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too short (error 18464)", longer},
	18465: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too long (error 18465)", shorter},
	18466: {fault.Refuse, ReasonPolicy, "refused the new password of %q as not complex enough (error 18466)", mix},
	18467: {fault.Refuse, ReasonPolicy, "refused the new password of %q by its password filter (error 18467)", askFilter},
	18468: {fault.Refuse, ReasonPolicy, "could not judge the new password of %q (error 18468)", "look into the server's error log"},
	18471: {fault.Stop, ReasonPermission, "does not let %q change its password while logging in (error 18471)", "change it on the server and put the new one into the auth Secret"},

	// What may be changed, and by whom.
	15151: {fault.Stop, ReasonMissing, "has no login %q, does not let it be changed, or has another old password (error 15151)", "check sys.server_principals and the permission ALTER ANY LOGIN"},
	33233: {fault.Stop, ReasonMissing, "keeps no password for the user %q, for the database is not a contained one (error 33233)", useLogin},
	33234: {fault.Stop, ReasonMissing, "keeps no password for the user %q (error 33234)", useLogin},
	15247: {fault.Stop, ReasonPermission, "does not let %q change the login (error 15247)", "grant CONTROL SERVER or ALTER ANY LOGIN"},
	229:   {fault.Stop, ReasonPermission, "denied %q a permission that a rotation needs (error 229)", control},
	297:   {fault.Stop, ReasonPermission, "denied %q a permission that a rotation needs (error 297)", control},
	300:   {fault.Stop, ReasonPermission, "denied %q a permission that a rotation needs (error 300)", control},
}
