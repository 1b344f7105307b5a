package signature

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const plain = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n" +
	"parent 1111111111111111111111111111111111111111\nparent 2222222222222222222222222222222222222222\n" +
	"author Dana DBA <dana@example.com> 1773144000 +0100\ncommitter gitrota <gitrota@example.com> 1773144001 -0130\n" +
	"encoding ISO-8859-1\n\nrotate a\n\ngpgsig is a word here\n"

const armour = "-----BEGIN SSH SIGNATURE-----\n\nAAAA\n-----END SSH SIGNATURE-----"

func TestACommitIsSplitIntoWhatWasSignedAndTheSignature(t *testing.T) {
	raw := Insert([]byte(plain), armour+"\n")
	require.Contains(t, string(raw), "encoding ISO-8859-1\ngpgsig -----BEGIN SSH SIGNATURE-----\n \n AAAA\n -----END SSH SIGNATURE-----\n\nrotate a\n")
	got, err := split(raw)
	require.NoError(t, err)
	require.Equal(t, plain, string(got.payload))
	require.Equal(t, armour, got.signature)
	require.Equal(t, "gitrota@example.com", got.email)
	require.Equal(t, time.Unix(1773144001, 0).UTC(), got.at)
}

func TestAMergeOfASignedTagKeepsTheTagInWhatWasSigned(t *testing.T) {
	merge := strings.Replace(plain, "encoding", "mergetag object 2222222222222222222222222222222222222222\n type commit\n tag v1\n tagger x <x@y> 1 +0000\n \n v1\n -----BEGIN PGP SIGNATURE-----\nencoding", 1)
	got, err := split(Insert([]byte(merge), armour))
	require.NoError(t, err)
	require.Equal(t, merge, string(got.payload))
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(plain))
	f.Add(Insert([]byte(plain), armour))
	f.Add(bytes.Replace(Insert([]byte(plain), armour), []byte("parent 1"), []byte("gpgsig x\n y\nparent 1"), 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := split(raw)
		if err != nil {
			return
		}
		// Nothing is lost, and nothing is signed that is not in the object.
		header := len(raw) - len(c.payload)
		if c.signature != "" {
			require.Equal(t, len("gpgsig ")+len(strings.ReplaceAll(c.signature, "\n", "\n "))+1, header)
		}
		bare, err := split(c.payload)
		require.NoError(t, err)
		require.Empty(t, bare.signature)
		require.Equal(t, c.payload, bare.payload)
		again, err := split(Insert(c.payload, armour))
		require.NoError(t, err)
		require.Equal(t, armour, again.signature)
		require.Equal(t, string(c.payload), string(again.payload))
	})
}
