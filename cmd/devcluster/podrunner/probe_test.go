package podrunner

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestProbe(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	results := func(p *probe, passed ...bool) (said []bool) {
		for _, result := range passed {
			now = now.Add(p.period)
			p.run = func(context.Context) error {
				if result {
					return nil
				}
				return errors.New("refused")
			}
			said = append(said, p.ask(t.Context(), now))
		}
		return said
	}
	never := func(context.Context) error { t.Error("it was run before its time"); return nil }

	t.Run("a readiness probe fails until it passes, and when it has failed often enough", func(t *testing.T) {
		p := newProbe(&corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2}, never, false, now)
		require.Equal(t, []bool{false, true, true, false, true}, results(&p, false, true, false, false, true))
		require.Equal(t, []bool{true, true, true, false, false}, results(&p, false, true, false, false, false))
	})
	t.Run("a liveness probe passes until it has failed often enough", func(t *testing.T) {
		p := newProbe(&corev1.Probe{}, never, true, now)
		require.Equal(t, []bool{true, true, true, true, true, false}, results(&p, false, false, true, false, false, false))
	})
	t.Run("it is run once a period", func(t *testing.T) {
		p := newProbe(&corev1.Probe{PeriodSeconds: 3, InitialDelaySeconds: 5}, never, false, now)
		require.False(t, p.ask(t.Context(), now.Add(4*time.Second)))
		require.Equal(t, time.Second, p.within(time.Minute, now.Add(4*time.Second)))
		p.run = func(context.Context) error { return nil }
		require.True(t, p.ask(t.Context(), now.Add(5*time.Second)))
		p.run = never
		require.True(t, p.ask(t.Context(), now.Add(7*time.Second)))
		require.Equal(t, time.Second, p.within(time.Minute, now.Add(7*time.Second)))
	})
	t.Run("one that is not there has nothing to say", func(t *testing.T) {
		p := newProbe(nil, never, true, now)
		require.True(t, p.ask(t.Context(), now))
	})
}

func TestSqlcmd(t *testing.T) {
	env := map[string]string{"MSSQL_SA_PASSWORD": `it's "$5" \o/`, "USER": "sa"}
	for script, password := range map[string]string{
		`/opt/mssql-tools18/bin/sqlcmd -C -S localhost -U sa -P "$MSSQL_SA_PASSWORD" -Q "SELECT 1"`:                                      env["MSSQL_SA_PASSWORD"],
		`sqlcmd -S 127.0.0.1,1433 -U $USER -P ${MSSQL_SA_PASSWORD} -Q 'SELECT 1' -b -o /dev/null`:                                        env["MSSQL_SA_PASSWORD"],
		`/opt/mssql-tools/bin/sqlcmd -Usa -P"${MSSQL_SA_PASSWORD}" -S tcp:localhost -l 3 -h -1 -Q "SELECT 1" > /dev/null 2>&1 || exit 1`: env["MSSQL_SA_PASSWORD"],
		`sqlcmd -S . -U sa -P '$MSSQL_SA_PASSWORD' -Q "SELECT 1"`:                                                                        `$MSSQL_SA_PASSWORD`,
		`sqlcmd -S . -U sa -P a\ b\"c -Q "SELECT 1"`:                                                                                     `a b"c`,
		`sqlcmd -S . -U sa -P "" -Q "SELECT 1"`:                                                                                          "",
	} {
		call, known := sqlcmdOf([]string{"/bin/bash", "-c", script}, env)
		require.True(t, known, script)
		require.Equal(t, password, call.login.Password.Reveal(), script)
		require.Equal(t, []string{"sa", "SELECT 1", "master"}, []string{call.login.Username, call.query, call.database}, script)
	}
	call, known := sqlcmdOf([]string{"sqlcmd", "-S", "localhost", "-U", "sa", "-P", "$MSSQL_SA_PASSWORD"}, env)
	require.True(t, known)
	require.Equal(t, "$MSSQL_SA_PASSWORD", call.login.Password.Reveal(), "nobody but a shell makes more of it")

	for _, other := range [][]string{
		nil,
		{"sh", "-c", ""},
		{"pg_isready"},
		{"sh", "-c", "sqlcmd -S localhost -U sa -P x | grep 1"},
		{"sh", "-c", "sqlcmd -S localhost -U sa -P $(cat /password)"},
		{"sh", "-c", "sqlcmd -S localhost -U sa -P `cat /password`"},
		{"sh", "-c", "test -f /ready && sqlcmd -S localhost"},
		{"sh", "-c", "sqlcmd -S elsewhere -U sa -P x"},
		{"sh", "-c", `sqlcmd -S localhost -U sa -P "x`},
		{"sqlcmd", "-S", "localhost", "-U"},
	} {
		_, known := sqlcmdOf(other, env)
		require.False(t, known, "%q", other)
	}
}
