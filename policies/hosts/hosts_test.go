package hosts_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/hosts"
)

func TestOnlyHostsOnTheListAreSentACredential(t *testing.T) {
	for _, tc := range []struct {
		list, endpoint string
		allowed        bool
	}{
		{"", "sql1.example.com:1433", false},
		{"sql1.example.com", "sql1.example.com:1433", true},
		{"sql1.example.com", "sql1.example.com:9999", true},
		{"sql1.example.com:1433", "sql1.example.com:9999", false},
		{"SQL1.Example.com", "sql1.EXAMPLE.com:1433", true},
		{"sql1.example.com", "sql1.example.com.:1433", true},
		{"sql1.example.com", "sql1.example.com.evil.net:1433", false},
		{"sql1.example.com", "evilsql1.example.com:1433", false},
		{"*.db.example.com", "sql1.db.example.com:1433", true},
		{"*.db.example.com", "a.b.db.example.com:1433", true},
		{"*.db.example.com", "db.example.com:1433", false},
		{"*.db.example.com", "evildb.example.com:1433", false},
		{"10.0.0.7:1433, sql2", "sql2:1433", true},
		{"10.0.0.7", "10.0.0.77:1433", false},
		{"[fd00::7]:1433", "[fd00::7]:1433", true},
		{"fd00::7", "[fd00::7]:1433", true},
		{"sql1", "sql1", false},
	} {
		list, err := hosts.Parse(tc.list)
		require.NoError(t, err, tc.list)
		require.Equal(t, tc.allowed, list.Allows(tc.endpoint), "%q allows %q", tc.list, tc.endpoint)
	}
}

func TestAListThatWouldAllowTooMuchIsRefused(t *testing.T) {
	for _, text := range []string{"*", "*.", "sql*.example.com", "sqlserver://sql1", "user@sql1", "sql1:0", "sql1:70000", "sql1:abc"} {
		_, err := hosts.Parse(text)
		require.Error(t, err, text)
	}
}
