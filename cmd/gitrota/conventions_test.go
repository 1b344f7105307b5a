package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// What readers of this repository rely on, and no compiler checks. Each failure says why the rule is there.

const (
	module   = "github.com/gitrota/gitrota"
	topLevel = "../.." // of the repository, from here
)

// testKits stand in for the world outside. They are for tests, for the demonstration, the benchmark and the torture.
var testKits = []string{"gitsource/forge/forgetest", "gitsource/gittest", "reconcile/kube/kubetest", "reconcile/mssql/mssqltest"}

func TestDependenciesPointOneWay(t *testing.T) {
	mayImport := map[string][]string{
		"cmd":       {"agent", "reconcile", "gitsource", "policies"},
		"agent":     {"reconcile", "gitsource", "policies"},
		"reconcile": {"gitsource", "policies"},
		"gitsource": {"policies"},
		"policies":  {},
	}
	for _, p := range packages(t, "./...") {
		layer := top(p.own())
		allowed, known := mayImport[layer]
		require.True(t, known, "%s is in none of the layers cmd, agent, reconcile, gitsource and policies", p.own())
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok && top(own) != layer {
				require.Contains(t, allowed, top(own), "%s imports %s, and arrows go one way: cmd -> agent -> reconcile -> {gitsource, policies}", p.own(), own)
			}
		}
	}
}

// calculator reads cron expressions and counts their dates. It could run jobs by the clock as well, which policies do not
// ask it for: they use its parser only.
const calculator = "github.com/netresearch/go-cron"

func TestPoliciesTouchNothing(t *testing.T) {
	for _, p := range packages(t, "-deps", "./policies/...") {
		if p.Standard || p.ImportPath == calculator {
			continue
		}
		require.True(t, top(p.own()) == "policies", "policies depends on %s, but it decides on plain data with the standard library and a parser of cron expressions alone, so that it can be read and tested without a world", p.ImportPath)
		for _, imported := range p.Imports {
			for _, outside := range []string{"net", "net/http", "os", "os/exec", "database/sql", "context"} {
				require.NotEqual(t, outside, imported, "%s reaches outside, and policies are pure", p.own())
			}
		}
		for _, file := range p.GoFiles {
			ast.Inspect(parse(t, filepath.Join(p.Dir, file)), func(n ast.Node) bool {
				selector, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if from, ok := selector.X.(*ast.Ident); ok && from.Name == "time" {
					require.NotContains(t, []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}, selector.Sel.Name,
						"%s/%s reads the clock; time comes into policies as a parameter", p.own(), file)
				}
				if from, ok := selector.X.(*ast.Ident); ok && from.Name == path.Base(calculator)[len("go-"):] {
					require.Contains(t, []string{"MustNewParser", "SpecSchedule", "Minute", "Hour", "Dom", "Month", "Dow", "DowNth", "DowLast", "DomL"}, selector.Sel.Name,
						"%s/%s uses more of %s than its parser", p.own(), file, calculator)
				}
				return true
			})
		}
	}
}

func TestTheProductDoesNotContainTestKits(t *testing.T) {
	for _, p := range packages(t, "./...") {
		isKit := slices.ContainsFunc(testKits, func(kit string) bool { return p.own() == kit || strings.HasPrefix(p.own(), kit+"/") })
		if isKit || slices.Contains([]string{"cmd/demo", "cmd/bench", "cmd/torture"}, p.own()) {
			continue
		}
		for _, kit := range testKits {
			require.NotContains(t, p.Imports, module+"/"+kit, "%s is the product, and %s is not", p.own(), kit)
		}
	}
}

func TestEveryPackageSaysWhatItIsForOnce(t *testing.T) {
	docs := map[string][]string{}
	eachFile(t, func(name string, _ []byte) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return
		}
		folder := path.Dir(name)
		docs[folder] = append(docs[folder], "")
		if parse(t, filepath.Join(topLevel, name)).Doc != nil {
			docs[folder][len(docs[folder])-1] = name
		}
	})
	for folder, files := range docs {
		files = slices.DeleteFunc(files, func(name string) bool { return name == "" })
		require.Len(t, files, 1, "%s should have one package doc, for there is one place to look", folder)
		require.NotContains(t, []string{"util", "utils", "common", "helpers", "types", "misc", "shared"}, path.Base(folder),
			"the name says nothing about what is in it")
	}
}

func TestFilesAreShortAndAtHomeAnywhere(t *testing.T) {
	developerPaths := regexp.MustCompile(`(^|[^\w.])/(home|Users|root|work)/\w`)
	registries := regexp.MustCompile(`\b(ghcr|gcr|quay|docker|registry\.k8s)\.io\b`)
	eachFile(t, func(name string, content []byte) {
		if strings.HasSuffix(name, ".go") {
			require.LessOrEqual(t, bytes.Count(content, []byte("\n")), 500, "%s: look for the second idea in it", name)
		}
		if path.Base(name) == "conventions_test.go" || strings.HasPrefix(path.Base(name), "go.") {
			return
		}
		for _, rule := range []*regexp.Regexp{developerPaths, registries} {
			require.Empty(t, string(rule.Find(content)), "%s holds what is true for one developer or company only", name)
		}
	})
}

// Go refuses half of the certificates that SQL Server makes for itself unless it is told otherwise. go.mod tells test
// binaries; what `go install` builds somewhere else hears of it from its own main package alone.
func TestEveryProgramReadsTheCertificatesThatSQLServerMakes(t *testing.T) {
	const setting = "x509negativeserial=1"
	programs := map[string]int{}
	eachFile(t, func(name string, content []byte) {
		switch {
		case path.Base(name) == "go.mod":
			require.Contains(t, strings.Split(string(content), "\n"), "godebug "+setting, "%s: tests dial SQL Servers too", name)
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			file := parse(t, filepath.Join(topLevel, name))
			if file.Name.Name != "main" {
				return
			}
			programs[path.Dir(name)] += 0
			for _, group := range file.Comments {
				for _, comment := range group.List {
					if comment.Text == "//go:debug "+setting && comment.Pos() < file.Package {
						programs[path.Dir(name)]++
					}
				}
			}
		}
	})
	require.Contains(t, programs, "cmd/gitrota")
	for program, said := range programs {
		require.Equal(t, 1, said, "a file of %s should say //go:debug %s before its package clause", program, setting)
	}
}

func TestTheTopLevelIsATableOfContents(t *testing.T) {
	expected := []string{"LICENSE", "Makefile", "README.md", "agent", "cmd", "examples", "gitsource", "go.mod", "go.sum", "policies", "reconcile"}
	entries, err := os.ReadDir(topLevel)
	require.NoError(t, err)
	var found []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			found = append(found, entry.Name())
		}
	}
	require.Equal(t, expected, found, "a newcomer reads the top level first")
}

func TestTheInstallManifestsSetFlagsThatThereAre(t *testing.T) {
	var known []string
	newAgent().Flags().VisitAll(func(f *pflag.Flag) { known = append(known, environmentName(f.Name), "--"+f.Name) })
	for file, setting := range map[string]string{"settings.env": `(?m)^GITROTA_\w+`, "deployment.yaml": `--[a-z-]+`} {
		content, err := os.ReadFile(filepath.Join(topLevel, "examples", "install", file))
		require.NoError(t, err)
		set := regexp.MustCompile(setting).FindAllString(string(content), -1)
		require.NotEmpty(t, set)
		require.Subset(t, known, set, "%s sets what the agent does not have", file)
	}
}

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath, Dir  string
	Standard         bool
	GoFiles, Imports []string
}

// own is the folder of a package of this module.
func (p goPackage) own() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func top(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	return first
}

// packages runs go list. Files of tests do not count.
func packages(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Dir,Standard,GoFiles,Imports"}, args...)...)
	cmd.Dir = topLevel
	var problems bytes.Buffer
	cmd.Stderr = &problems
	output, err := cmd.Output()
	require.NoError(t, err, problems.String())
	var list []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		list = append(list, p)
	}
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	require.NoError(t, err)
	return parsed
}

// eachFile visits all files of the repository but what was built and what belongs to git.
func eachFile(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(topLevel), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || name == ".build"):
			return fs.SkipDir
		case !entry.Type().IsRegular(), name == ".git": // in a worktree, it is a file that says where the repository is
			return nil
		}
		content, err := os.ReadFile(filepath.Join(topLevel, name))
		if err == nil {
			visit(name, content)
		}
		return err
	})
	require.NoError(t, err)
}
