package main

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// What users meet, and would look up: flags, fields, phases, conditions, reasons, annotations, metrics and the keys of
// Secrets. Each of them is in a manual, as `it is written`, and what manuals say of flags, settings and metrics is there.

func TestEveryFlagIsInAManual(t *testing.T) {
	all := map[string]bool{}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		isAgent := cmd.Name() == "agent" || cmd.Name() == "plan" // which has the agent's flags
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			all["--"+f.Name] = true
			file := "cmd/gitrota/README.md"
			if isAgent && f.Name != "output" {
				file = "agent/README.md"
			}
			row := regexp.MustCompile("(?m)^\\| .*`--" + f.Name + "`.*$").FindString(readManual(t, file))
			require.NotEmpty(t, row, "%s has a table with --%s of %s", file, f.Name, cmd.CommandPath())
			if f.DefValue != "" {
				require.Contains(t, strings.Split(row, " | ")[1], "`"+regexp.MustCompile(`m0s$`).ReplaceAllString(f.DefValue, "m")+"`", "%s: the default of --%s", file, f.Name)
			}
		})
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit(newRoot())

	for _, m := range manuals(t) {
		for _, match := range flagInText.FindAllStringSubmatch(m.text, -1) {
			require.True(t, all[match[1]], "%s speaks of %s, and no command has that flag", m.file, match[1])
		}
		for _, name := range settingInText.FindAllString(m.text, -1) {
			flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "GITROTA_"), "_", "-"))
			require.True(t, all[flag] || name == "GITROTA_", "%s speaks of %s, and there is no such setting", m.file, name)
		}
	}
}

var (
	flagInText    = regexp.MustCompile("`(--[a-z][a-z-]+)[^`]*`") // git's and kubectl's stand in blocks
	settingInText = regexp.MustCompile(`GITROTA_[A-Z_]*`)
)

func TestEveryMetricIsInAManual(t *testing.T) {
	metric := regexp.MustCompile(`gitrota_[a-z_]+[a-z]`)
	var there []string
	eachSource(t, "agent", func(_ string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if text := stringOf(n); text != "" && metric.FindString(text) == text {
				there = append(there, text)
			}
			return true
		})
	})
	require.NotEmpty(t, there)
	text := readManual(t, "agent/README.md")
	for _, name := range there {
		require.Contains(t, text, "\n| `"+name+"` |", "agent/README.md has a table of metrics")
	}
	for _, m := range manuals(t) {
		require.Subset(t, there, metric.FindAllString(m.text, -1), "%s speaks of a metric that is not there", m.file)
	}
}

// isMet says which constants are words that users meet, by their names or by the names of their types.
var isMet = regexp.MustCompile(`^(Reason|Type|annotation|Annotation)[A-Z]|^(Acknowledged|Trailer)$`)

// metTypes are the types of such constants.
var metTypes = []string{"Reason", "Phase", "Mode", "OnDue", "AfterFailure", "stepKind"}

func TestEveryWordThatUsersMeetIsInAManual(t *testing.T) {
	text := allManuals(t)
	words := map[string]string{} // and where they are
	for _, layer := range []string{"agent", "reconcile", "gitsource", "policies"} {
		eachSource(t, layer, func(name string, file *ast.File) {
			ast.Inspect(file, func(n ast.Node) bool {
				for word := range wordsOf(n) {
					words[word] = name
				}
				return true
			})
		})
	}
	for _, known := range []string{"CredentialStaged", "PlaintextSecret", "LoginLocked", "StatusDeleted", "NeverOpens", "Over", "apply", "gitrota.dev/rotation-id"} {
		require.Contains(t, words, known, "it is found")
	}
	maps.DeleteFunc(words, func(word, _ string) bool {
		return regexp.MustCompile("`" + regexp.QuoteMeta(word) + "(<[a-z]+>)?[`:]").MatchString(text)
	})
	require.Empty(t, words, "what is in no manual is not found")
}

// wordsOf are those of a declaration of constants, and of a condition that is written out.
func wordsOf(n ast.Node) map[string]bool {
	found := map[string]bool{}
	switch n := n.(type) {
	case *ast.ValueSpec:
		typed, _ := n.Type.(*ast.Ident)
		for i, name := range n.Names {
			if i < len(n.Values) && (isMet.MatchString(name.Name) || typed != nil && slices.Contains(metTypes, typed.Name)) {
				found[stringOf(n.Values[i])] = true
			}
		}
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" {
			found[stringOf(n.Value)] = true
		}
	case *ast.AssignStmt:
		if selected, ok := n.Lhs[0].(*ast.SelectorExpr); ok && selected.Sel.Name == "Reason" {
			found[stringOf(n.Rhs[0])] = true
		}
	}
	delete(found, "")
	delete(found, "ended") // which is no step, as it says
	return found
}

func TestEveryFieldIsInAManual(t *testing.T) {
	text, found, missing := allManuals(t), 0, map[string]string{}
	eachSource(t, "gitsource", func(name string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			list, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, variable := range list.Names {
				isFields := strings.HasSuffix(variable.Name, "Fields") && variable.Name != "metadataFields" || variable.Name == "policySections" || variable.Name == "authKeys"
				if !isFields || i >= len(list.Values) {
					continue
				}
				ast.Inspect(list.Values[i], func(n ast.Node) bool {
					if field := stringOf(n); field != "" {
						found++
						if !regexp.MustCompile("`([a-zA-Z]+(\\[\\])?\\.)*" + regexp.QuoteMeta(field) + "[`:]").MatchString(text) {
							missing[field] = name
						}
					}
					return true
				})
			}
			return true
		})
	})
	require.Greater(t, found, 70)
	require.Empty(t, missing, "these fields are in no manual")
}

func TestBenchmarksInManualsAreThere(t *testing.T) {
	var declared []string
	eachFile(t, func(name string, content []byte) {
		if strings.HasSuffix(name, "_test.go") {
			declared = append(declared, regexp.MustCompile(`(?m)^func Benchmark\w+`).FindAllString(string(content), -1)...)
		}
	})
	for _, m := range manuals(t) {
		for _, name := range regexp.MustCompile("`Benchmark\\w+`").FindAllString(m.text, -1) {
			require.Contains(t, declared, "func "+strings.Trim(name, "`"), m.file)
		}
	}
}

// allManuals returns the text of all.
func allManuals(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, m := range manuals(t) {
		b.WriteString(m.text)
	}
	return b.String()
}

// readManual returns the text of one, or of another file, by its path from the top.
func readManual(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(topLevel, filepath.FromSlash(file)))
	require.NoError(t, err)
	return string(text)
}

// eachSource visits the files of the product below a folder: neither tests nor what stands in for the world.
func eachSource(t *testing.T, folder string, visit func(name string, file *ast.File)) {
	t.Helper()
	eachFile(t, func(name string, _ []byte) {
		isKit := slices.ContainsFunc(testKits, func(kit string) bool { return strings.HasPrefix(name, kit+"/") })
		if path.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") && strings.HasPrefix(name, folder+"/") && !isKit {
			visit(name, parse(t, filepath.Join(topLevel, filepath.FromSlash(name))))
		}
	})
}

// stringOf is the value of a string that is written out, "" of anything else.
func stringOf(n ast.Node) string {
	literal, ok := n.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return text
}
