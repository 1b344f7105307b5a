package audit_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/clone"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile/audit"
)

// BenchmarkVerify proves 10,000 rotations in 20,000 commits, and tells the story of one of 100 databases.
func BenchmarkVerify(b *testing.B) {
	const rotations, namespaces = 10_000, 100
	server := gittest.NewServer(b, gittest.Options{})
	key := server.NewSSHKey("ed25519", "")
	dir, tip := generated(b, key, rotations, namespaces)
	file := filepath.Join(b.TempDir(), "allowed_signers")
	require.NoError(b, os.WriteFile(file, []byte(agentEmail+" "+key.Public+"\n"), 0o600))
	signers, err := signature.LoadSigners(file)
	require.NoError(b, err)

	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			from, err := clone.Open(dir)
			require.NoError(b, err)
			report, err := audit.Verify(from, audit.Options{StatusPath: statusPath, Tip: tip, Agents: signers})
			require.NoError(b, err)
			require.Equal(b, rotations, report.StatusCommits)
			require.NoError(b, from.Close())
		}
	})
	b.Run("history", func(b *testing.B) {
		for b.Loop() {
			from, err := clone.Open(dir)
			require.NoError(b, err)
			story, err := audit.Tell(from, tip, statusPath, "", "db7")
			require.NoError(b, err)
			require.Len(b, story.Requests, rotations/namespaces)
			require.NoError(b, from.Close())
		}
	})
	b.Run("git log, to compare", func(b *testing.B) {
		for b.Loop() {
			out, err := exec.Command("git", "-C", dir, "log", "--format=%H", tip.String(), "--", statusPath).Output()
			require.NoError(b, err)
			require.Equal(b, rotations, bytes.Count(out, []byte("\n")))
		}
	})
}

// generated is a repository with so many rotations, each asked for in a commit of a person's and written down in one
// that the agent has signed.
func generated(b *testing.B, key *gittest.SigningKey, rotations, namespaces int) (dir string, tip audit.Hash) {
	b.Helper()
	signing, err := signature.LoadKey(key.Dir)
	require.NoError(b, err)
	p := &pack{}
	manifests, statuses := &folder{}, &folder{}
	when := noon
	commit := func(who string, sign bool, message string) {
		when = when.Add(time.Minute)
		rows := []string{row("40000", "rotations", manifests.write(p))}
		if statuses.below != nil {
			rows = append(rows, row("40000", statusPath, statuses.write(p)))
		}
		root := p.add(plumbing.TreeObject, tree(rows...))
		text := "tree " + root.String() + "\n"
		if !tip.IsZero() {
			text += "parent " + tip.String() + "\n"
		}
		raw := fmt.Appendf(nil, "%sauthor %s %d +0000\ncommitter %[2]s %[3]d +0000\n\n%s", text, who, when.Unix(), message)
		if sign {
			armored, err := signing.Sign(raw)
			require.NoError(b, err)
			raw = signature.Insert(raw, armored)
		}
		tip = p.add(plumbing.CommitObject, raw)
	}
	for i := range rotations {
		namespace := fmt.Sprintf("ns%d", i%namespaces)
		a := asked{name: fmt.Sprintf("rotate-%d", i), database: fmt.Sprintf("db%d", i%namespaces)}
		a.path = "rotations/" + namespace + "/" + a.name + ".yaml"
		a.text = strings.Replace(request(a.name, a.database), "namespace: shop", "namespace: "+namespace, 1)
		manifests.set(namespace, a.name+".yaml", p.add(plumbing.BlobObject, []byte(a.text)))
		commit("Dana DBA <dana@example.com>", false, "rotate "+a.database+"\n")
		a.commit = tip.String()
		s := status{asked: a, phase: "Successful"}
		for _, step := range []string{"RotateAuth", "CredentialStaged", "DatabasePauseSucceeded", "UpdateCredential", "CredentialPromoted",
			"RestartNodes", "CredentialVerified", "PreviousCredentialRejected", "DatabaseResumed", "Successful"} {
			s.conditions = append(s.conditions, condition(step, step, "this step was taken as it should have been, and took a while", when))
		}
		statuses.set(namespace, a.name+".yaml", p.add(plumbing.BlobObject, []byte(s.content())))
		commit(agentName+" <"+agentEmail+">", true, fmt.Sprintf("rotate %s/%s: Successful\n\nDone.\n\nRotation-Request: %[1]s/%[3]s\nRotation-Id: %[4]s\nRotation-Phase: Successful\nRotation-Source: %[5]s\n",
			namespace, a.database, a.name, s.id(), a.commit))
	}
	dir = filepath.Join(b.TempDir(), "generated.git")
	git := func(stdin []byte, args ...string) {
		cmd := exec.Command("git", args...)
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s: %s", strings.Join(args, " "), out)
	}
	git(nil, "init", "--quiet", "--bare", dir)
	git(p.bytes(), "-C", dir, "index-pack", "--stdin", "--strict")
	git(nil, "-C", dir, "update-ref", "refs/heads/main", tip.String())
	git(nil, "-C", dir, "repack", "--quiet", "-a", "-d", "-f") // with deltas, as a forge would send it
	return dir, tip
}

// folder is a folder of folders of files.
type folder struct {
	below map[string]map[string]audit.Hash
	trees map[string]audit.Hash // as they were written last
}

func (f *folder) set(namespace, name string, blob audit.Hash) {
	if f.below == nil {
		f.below, f.trees = map[string]map[string]audit.Hash{}, map[string]audit.Hash{}
	}
	if f.below[namespace] == nil {
		f.below[namespace] = map[string]audit.Hash{}
	}
	f.below[namespace][name] = blob
	delete(f.trees, namespace)
}

func (f *folder) write(p *pack) audit.Hash {
	var rows []string
	for namespace, files := range f.below {
		if _, known := f.trees[namespace]; !known {
			var list []string
			for name, blob := range files {
				list = append(list, row("100644", name, blob))
			}
			f.trees[namespace] = p.add(plumbing.TreeObject, tree(list...))
		}
		rows = append(rows, row("40000", namespace, f.trees[namespace]))
	}
	return p.add(plumbing.TreeObject, tree(rows...))
}

func row(mode, name string, hash audit.Hash) string {
	return mode + " " + name + "\x00" + string(hash[:])
}

// tree is a tree of rows, in git's order.
func tree(rows ...string) []byte {
	slices.SortFunc(rows, func(a, b string) int {
		key := func(row string) string {
			mode, rest, _ := strings.Cut(row, " ")
			name, _, _ := strings.Cut(rest, "\x00")
			if mode == "40000" {
				name += "/"
			}
			return name
		}
		return strings.Compare(key(a), key(b))
	})
	return []byte(strings.Join(rows, ""))
}

// pack is a pack in the making.
type pack struct {
	objects bytes.Buffer
	count   uint32
	zlib    *zlib.Writer
	known   map[audit.Hash]bool
}

// add adds an object, once.
func (p *pack) add(kind plumbing.ObjectType, content []byte) audit.Hash {
	hash := plumbing.ComputeHash(kind, content)
	if p.known[hash] {
		return hash
	}
	if p.known == nil {
		p.known = map[audit.Hash]bool{}
	}
	p.known[hash] = true
	p.count++
	size := len(content)
	first := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.objects.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	p.objects.WriteByte(first)
	if p.zlib == nil {
		p.zlib, _ = zlib.NewWriterLevel(&p.objects, zlib.BestSpeed)
	}
	p.zlib.Reset(&p.objects)
	_, _ = p.zlib.Write(content)
	_ = p.zlib.Close()
	return hash
}

func (p *pack) bytes() []byte {
	all := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), p.count)
	all = append(all, p.objects.Bytes()...)
	sum := sha1.Sum(all)
	return append(all, sum[:]...)
}
