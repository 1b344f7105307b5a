package signature

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/stretchr/testify/require"
)

// made is when the keys of these tests begin; the commits of commit_test.go are a year younger.
var made = time.Unix(1773144001, 0).AddDate(-1, 0, 0)

func at(t time.Time) *packet.Config { return &packet.Config{Time: func() time.Time { return t }} }

func newEntity(t require.TestingT, lifetime time.Duration) *openpgp.Entity {
	config := at(made)
	config.KeyLifetimeSecs = uint32(lifetime / time.Second)
	entity, err := openpgp.NewEntity("Dana DBA", "", "dana@example.com", config)
	require.NoError(t, err)
	return entity
}

// signedBy returns the commit of commit_test.go, signed at a time.
func signedBy(t require.TestingT, entity *openpgp.Entity, when time.Time, text bool) commit {
	sign := openpgp.ArmoredDetachSign
	if text {
		sign = openpgp.ArmoredDetachSignText
	}
	var armored strings.Builder
	require.NoError(t, sign(&armored, entity, strings.NewReader(plain), at(when)))
	c, err := split(Insert([]byte(plain), armored.String()))
	require.NoError(t, err)
	return c
}

func TestWhenAnOpenPGPKeyCounts(t *testing.T) {
	committed := time.Unix(1773144001, 0)
	const year = 365 * 24 * time.Hour
	for _, c := range []struct {
		story string
		key   func(e *openpgp.Entity)
		err   error
	}{
		{"a key that is valid counts", func(*openpgp.Entity) {}, nil},
		{"a key that was retired later counts for what was made before", func(e *openpgp.Entity) {
			require.NoError(t, e.RevokeKey(packet.KeyRetired, "gone", at(committed.Add(time.Hour))))
		}, nil},
		{"a key that was retired before does not count", func(e *openpgp.Entity) {
			require.NoError(t, e.RevokeKey(packet.KeyRetired, "gone", at(committed.Add(-time.Hour))))
		}, ErrNotValidThen},
		{"a key that was stolen does not count, whatever the time", func(e *openpgp.Entity) {
			require.NoError(t, e.RevokeKey(packet.KeyCompromised, "stolen", at(committed.Add(time.Hour))))
		}, ErrNotValidThen},
		{"a key whose expiry was moved later counts for what was made before", func(e *openpgp.Entity) {
			for _, id := range e.Identities {
				lifetime := uint32(4 * year / time.Second)
				id.SelfSignature.CreationTime = committed.Add(time.Hour)
				id.SelfSignature.KeyLifetimeSecs = &lifetime
				require.NoError(t, id.SelfSignature.SignUserId(id.UserId.Id, e.PrimaryKey, e.PrivateKey, at(committed.Add(time.Hour))))
			}
		}, nil},
	} {
		t.Run(c.story, func(t *testing.T) {
			entity := newEntity(t, 2*year)
			signed := signedBy(t, entity, committed.Add(time.Second), false)
			c.key(entity)
			got, err := (&list{openPGP: openpgp.EntityList{entity}}).verifyOpenPGP(signed)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, openPGPName(entity.PrimaryKey.Fingerprint), got.Key)
		})
	}
	t.Run("a signature of a text is bad, since it holds for several", func(t *testing.T) {
		entity := newEntity(t, 2*year)
		_, err := (&list{openPGP: openpgp.EntityList{entity}}).verifyOpenPGP(signedBy(t, entity, committed, true))
		require.ErrorIs(t, err, ErrBadSignature)
		require.ErrorContains(t, err, "not an OpenPGP signature of bytes")
	})
}

// Whoever can push chooses the bytes of a signature.
func FuzzOpenPGP(f *testing.F) {
	entity := newEntity(f, 0)
	trusted := &list{openPGP: openpgp.EntityList{entity}}
	good := signedBy(f, entity, time.Unix(1773144001, 0), false)
	block, err := armor.Decode(strings.NewReader(good.signature))
	require.NoError(f, err)
	var packets bytes.Buffer
	_, err = packets.ReadFrom(block.Body)
	require.NoError(f, err)
	f.Add(packets.Bytes())
	f.Fuzz(func(t *testing.T, signature []byte) {
		var armored strings.Builder
		w, err := armor.Encode(&armored, openpgp.SignatureType, nil)
		require.NoError(t, err)
		_, err = w.Write(signature)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		c := good
		c.signature = armored.String()
		if _, err := trusted.verifyOpenPGP(c); err != nil {
			require.True(t, errors.Is(err, ErrBadSignature) || errors.Is(err, ErrUntrusted) || errors.Is(err, ErrNotValidThen), "%v", err)
		}
	})
}
