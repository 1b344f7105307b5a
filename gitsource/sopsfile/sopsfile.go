// Package sopsfile decrypts and encrypts files in the format of SOPS, with age keys only.
//
// It is the one place that imports SOPS. SOPS obeys the file: a file may name a Vault whose address its author chose,
// or make SOPS look into the environment, the home folder and commands for keys. This package hands it a key service
// of its own that knows the keys it was given and nothing else. It always checks the MAC, bounds the size, survives a
// panic, and builds every error's text itself, since those of SOPS can quote the plaintext.
//
// The MAC covers a file's values, and neither its comments nor the names of its plain keys.
package sopsfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/logging"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"
	"github.com/getsops/sops/v3/version"
)

// MaxSize bounds a file, in bytes. A Secret in Kubernetes cannot be larger.
const MaxSize = 1 << 20

// Why a file cannot be decrypted, in the order in which it is tried.
var (
	ErrTooLarge  = errors.New("the file is too large to be a Secret")
	ErrNotSOPS   = errors.New("the file is not encrypted with SOPS, or its sops block is damaged")
	ErrNoKeys    = errors.New("gitrota was given no age key to decrypt with")
	ErrNoKeyFits = errors.New("none of gitrota's age keys is a recipient of the file")
	ErrDamaged   = errors.New("an encrypted value is damaged, or was moved to another place")
	ErrMAC       = errors.New("the MAC does not match: the file was changed after it was encrypted")
)

// SOPS logs recipients and progress through loggers of its own.
func init() {
	for _, logger := range logging.Loggers {
		logger.SetOutput(io.Discard)
	}
}

// Decrypt returns the plaintext of a YAML or JSON file. Its errors are one of the sentinels above, perhaps with the
// file's recipients, and never quote the file's content.
func Decrypt(data []byte, keys Keys) (plain []byte, err error) {
	if len(data) > MaxSize {
		return nil, ErrTooLarge
	}
	// Crafted metadata can make SOPS panic; the value may hold plaintext and is dropped.
	stage := ErrNotSOPS
	defer func() {
		if recover() != nil {
			plain, err = nil, stage
		}
	}()

	store := storeFor(data)
	tree, loadErr := store.LoadEncryptedFile(data)
	if loadErr != nil {
		return nil, ErrNotSOPS
	}
	if keys.IsZero() {
		return nil, fmt.Errorf("%w; %s", ErrNoKeys, recipientsOf(&tree))
	}
	stage = ErrNoKeyFits
	dataKey, keyErr := tree.Metadata.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{ageService{keys.identities}}, nil)
	if keyErr != nil {
		return nil, fmt.Errorf("%w; %s", ErrNoKeyFits, recipientsOf(&tree))
	}
	stage = ErrDamaged
	cipher := aes.NewCipher()
	mac, treeErr := tree.Decrypt(dataKey, cipher)
	if treeErr != nil {
		return nil, ErrDamaged
	}
	stage = ErrMAC
	noted, macErr := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if macErr != nil || noted != mac {
		return nil, ErrMAC
	}
	stage = ErrDamaged
	plain, emitErr := store.EmitPlainFile(tree.Branches)
	if emitErr != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Encrypt encrypts those values of a YAML or JSON file whose key matches encryptedRegex, for the given age recipients.
func Encrypt(plain []byte, recipients []string, encryptedRegex string) ([]byte, error) {
	if len(recipients) == 0 {
		return nil, errors.New("encrypting with SOPS: there is no recipient")
	}
	var group sops.KeyGroup
	for _, recipient := range recipients {
		key, err := sopsage.MasterKeyFromRecipient(recipient)
		if err != nil {
			return nil, fmt.Errorf("encrypting with SOPS: %q is not an age recipient", recipient)
		}
		group = append(group, key)
	}
	store := storeFor(plain)
	branches, err := store.LoadPlainFile(plain)
	if err != nil {
		return nil, errors.New("encrypting with SOPS: the plaintext cannot be parsed")
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: []sops.KeyGroup{group}, EncryptedRegex: encryptedRegex, Version: version.Version,
	}}
	dataKey, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{ageService{}})
	if len(errs) > 0 {
		return nil, errors.New("encrypting with SOPS: the data key could not be encrypted for the recipients")
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		return nil, errors.New("encrypting with SOPS: the values could not be encrypted")
	}
	tree.Metadata.LastModified = time.Now().UTC()
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return nil, errors.New("encrypting with SOPS: the MAC could not be encrypted")
	}
	return store.EmitEncryptedFile(tree)
}

// storeFor picks JSON for what begins like JSON, as YAML would lose its form.
func storeFor(data []byte) sops.Store {
	conf := config.NewStoresConfig()
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return json.NewStore(&conf.JSON)
	}
	return yaml.NewStore(&conf.YAML)
}
