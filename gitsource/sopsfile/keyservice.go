package sopsfile

import (
	"context"
	"errors"
	"strings"

	"filippo.io/age"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/keyservice"
	"google.golang.org/grpc"
)

// ageService is all that SOPS gets to see of the world: it decrypts data keys with the identities that it holds, and
// encrypts them for age recipients. Any other kind of key is refused, so that no file can send a request anywhere.
type ageService struct{ identities sopsage.ParsedIdentities }

var errOnlyAge = errors.New("only age keys are served")

// Decrypt refuses to work without identities: SOPS would then look for some in the environment, in files and with
// commands.
func (s ageService) Decrypt(_ context.Context, req *keyservice.DecryptRequest, _ ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	key, ok := req.Key.KeyType.(*keyservice.Key_AgeKey)
	if !ok || len(s.identities) == 0 {
		return nil, errOnlyAge
	}
	master := sopsage.MasterKey{Recipient: key.AgeKey.Recipient, EncryptedKey: string(req.Ciphertext)}
	s.identities.ApplyToMasterKey(&master)
	plain, err := master.Decrypt()
	return &keyservice.DecryptResponse{Plaintext: plain}, err
}

// Encrypt takes native age recipients only; others could start a plugin.
func (s ageService) Encrypt(_ context.Context, req *keyservice.EncryptRequest, _ ...grpc.CallOption) (*keyservice.EncryptResponse, error) {
	key, ok := req.Key.KeyType.(*keyservice.Key_AgeKey)
	if !ok {
		return nil, errOnlyAge
	}
	if _, err := age.ParseRecipients(strings.NewReader(key.AgeKey.Recipient)); err != nil {
		return nil, errOnlyAge
	}
	master, err := sopsage.MasterKeyFromRecipient(key.AgeKey.Recipient)
	if err != nil {
		return nil, err
	}
	if err := master.Encrypt(req.Plaintext); err != nil {
		return nil, err
	}
	return &keyservice.EncryptResponse{Ciphertext: []byte(master.EncryptedKey)}, nil
}
