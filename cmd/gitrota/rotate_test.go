package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
)

// seedOrder are the conditions of KubeDB's guide, in the order in which they come to pass.
var seedOrder = []string{
	"RotateAuth", "DatabasePauseSucceeded", "UpdateCredential", "UpdatePetSets", "GetPod--db-0", "EvictPod--db-0",
	"CheckPodRunning--db-0", "RestartNodes", "Successful",
}

func TestAPushedRequestRotatesToAGeneratedPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	before := w.live("db")
	source := w.repo.Commit(map[string]string{"rotations/generated.yaml": w.request("generated", "db", "timeout: 5m", "apply: IfReady")}, "Rotate db")

	require.Equal(t, 0, w.once())

	after := w.live("db")
	require.Equal(t, "sa", after.Username)
	require.NotEqual(t, before.Password, after.Password)
	require.GreaterOrEqual(t, len(after.Password.Reveal()), 24)
	require.Equal(t, before, w.previous("db"))
	require.True(t, w.opens("db", after))
	require.Equal(t, 1, w.passwordChanges("db"))
	require.Zero(t, w.failedLogins("db"), "the server was asked, no login was tried in vain")
	require.False(t, w.opens("db", before))

	s := w.status("generated")
	require.Equal(t, "Successful", s.phase())
	require.Equal(t, "Successfully generated new credentials", s.condition("UpdateCredential").Message)
	require.Equal(t, seedOrder, inOrder(s.types(), seedOrder))
	require.Equal(t, []string{
		"RotateAuth", "CredentialStaged", "DatabasePauseSucceeded", "UpdateCredential", "CredentialApplied--db-0",
		"CredentialPromoted", "UpdatePetSets", "GetPod--db-0", "EvictPod--db-0", "CheckPodRunning--db-0", "RestartNodes",
		"CredentialVerified", "PreviousCredentialRejected", "DatabaseResumed", "Successful",
	}, s.types())
	require.Equal(t, source, s.Metadata.Annotations["gitrota.dev/source-commit"])

	entry := w.repo.Log()[0]
	require.Equal(t, "rotate "+w.namespace+"/db: Successful", entry.Subject)
	require.Equal(t, w.namespace+"/generated", entry.Trailers["Rotation-Request"])
	require.Equal(t, "Successful", entry.Trailers["Rotation-Phase"])
	require.Equal(t, source, entry.Trailers["Rotation-Source"])
	require.Regexp(t, regexp.MustCompile("^[0-9a-f]{32}$"), entry.Trailers["Rotation-Id"])
	require.ElementsMatch(t, []string{w.statusPath("generated"), "rotation-status/README.md"}, entry.Files)
	w.repo.Check()

	database := w.cluster.Kubectl(t, "get", "mssqlserver", "-n", w.namespace, "db", "-o", "yaml")
	require.NotContains(t, database, "Paused by gitrota")
	events := w.cluster.Kubectl(t, "get", "events", "-n", w.namespace, "--field-selector", "involvedObject.kind=MSSQLServer")
	for _, message := range []string{
		"Start processing for MSSQLServerOpsRequest: " + w.namespace + "/generated",
		"Pausing MSSQLServer database: " + w.namespace + "/db",
		"Successfully paused MSSQLServer database: " + w.namespace + "/db for MSSQLServerOpsRequest: generated",
		"successfully reconciled the MSSQLServer with updated credentials",
		"evict pod; ConditionStatus:True; PodName:db-0",
		"Successfully restarted all nodes",
		"Successfully resumed MSSQLServer database: " + w.namespace + "/db for MSSQLServerOpsRequest: generated",
	} {
		require.Contains(t, events, message)
	}
	keeper := w.secret("db-auth-keeper")
	require.Empty(t, keeper.Data["next.password"])
	require.Equal(t, after.Password.Reveal(), string(keeper.Data["live.password"]))
	require.Equal(t, before.Password.Reveal(), string(keeper.Data["previous.password"]))
}

func TestAUserSuppliesThePasswordEncryptedInGit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	before := w.live("db")
	given := credential.NewPassword("Canary'It]is-9&%")
	w.remember(given)
	w.repo.Commit(map[string]string{
		"rotations/secret.yaml": w.encrypt(w.basicAuth("db-auth-user", "sa", `"`+given.Reveal()+`"`)),
		"rotations/user.yaml":   w.request("user", "db", "authentication:", "  secretRef:", "    name: db-auth-user"),
	}, "Rotate db to our own password")

	require.Equal(t, 0, w.once())

	require.Equal(t, given, w.live("db").Password)
	require.Equal(t, before, w.previous("db"))
	require.True(t, w.opens("db", w.live("db")))
	require.Equal(t, "Successfully referenced the user provided authSecret", w.status("user").condition("UpdateCredential").Message)
	require.Equal(t, seedOrder, inOrder(w.status("user").types(), seedOrder))
	require.Nil(t, w.secret("db-auth-user"), "the Secret stays in Git")
}

func TestAUserSuppliesThePasswordInASecretOfTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	w.cluster.Kubectl(t, "-n", w.namespace, "create", "secret", "generic", "db-auth-user", "--type=kubernetes.io/basic-auth",
		"--from-literal=username=sa", "--from-literal=password=Mssqlserver2")
	w.secret("db-auth-user")
	w.repo.Commit(map[string]string{"rotations/user.yaml": w.request("user", "db", "authentication:", "  secretRef:", "    name: db-auth-user")}, "Rotate db")

	require.Equal(t, 0, w.once())

	require.Equal(t, "Mssqlserver2", w.live("db").Password.Reveal())
	require.True(t, w.opens("db", w.live("db")))
}

func TestOneRotationAfterTheOtherKeepsTheAgentInStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	agent := w.agent()
	for _, name := range []string{"first", "second", "third"} {
		before := w.live("db")
		w.repo.Commit(map[string]string{"rotations/" + name + ".yaml": w.request(name, "db")}, "Rotate db")
		w.eventually(name+" is Successful", func() bool { return w.status(name).phase() == "Successful" })
		require.NotEqual(t, before, w.live("db"))
		require.Equal(t, before, w.previous("db"))
	}
	require.Equal(t, 3, w.passwordChanges("db"))
	require.Zero(t, w.failedLogins("db"))
	require.True(t, w.opens("db", w.live("db")))
	require.Contains(t, w.repo.Show("rotation-status/README.md"), "[third]("+w.namespace+"/third.yaml) | Successful")
	require.Equal(t, 0, agent.terminate())
}

// inOrder returns those of want that are in have, in have's order.
func inOrder(have, want []string) []string {
	var found []string
	for _, h := range have {
		for _, w := range want {
			if h == w {
				found = append(found, h)
			}
		}
	}
	return found
}

func TestAKeyThatIsMountedWhileTheAgentRunsIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	before := w.live("db")
	w.agent()
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	w.recipient = identity.Recipient().String()
	chosen := credential.NewPassword("Our-own-choice-4712")
	w.remember(chosen)
	user := []string{"authentication:", "  secretRef:", "    name: db-auth-user"}
	w.repo.Commit(map[string]string{
		"rotations/secret.yaml": w.encrypt(w.basicAuth("db-auth-user", "sa", chosen.Reveal())), "rotations/early.yaml": w.request("early", "db", user...),
	}, "Encrypt for a key that the agent will have")
	w.eventually("it is denied", func() bool { return w.status("early").condition("Denied").Reason == "Undecryptable" })
	require.Equal(t, before, w.live("db"))

	require.NoError(t, os.WriteFile(filepath.Join(w.sopsKeys, "next.agekey"), []byte(identity.String()+"\n"), 0o600))
	w.repo.Commit(map[string]string{"rotations/again.yaml": w.request("again", "db", user...)}, "Ask again")
	w.eventually("it has run", func() bool { return w.status("again").phase() == "Successful" })
	require.Equal(t, credential.Credential{Username: "sa", Password: chosen}, w.live("db"))
	require.True(t, w.opens("db", w.live("db")))
}
