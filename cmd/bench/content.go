package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The folders that the agent watches and writes to.
const (
	watched  = "rotations"
	statuses = "rotation-status"
)

// idTrailer is the trailer by which a status is known in the history.
const idTrailer = "Rotation-Id"

// secrets makes the files of a large repository: credentials, encrypted as SOPS does, of about 1 KB each. They do not
// compress much, and are the same every time.
func secrets(folders, perFolder int) map[string]string {
	files := map[string]string{"README.md": "# The credentials of our databases\n"}
	for folder := range folders {
		for number := range perFolder {
			files[secretPath(folder, number)] = secret(folder, number, 0)
		}
	}
	return files
}

func folderPath(folder int) string { return fmt.Sprintf("%s/team-%02d", watched, folder) }

func secretPath(folder, number int) string {
	return fmt.Sprintf("%s/database-%02d-auth.yaml", folderPath(folder), number)
}

// secret is one such file, as it is after some changes of the password.
func secret(folder, number, changes int) string {
	constant, changing := random(folder, number), random(folder, number, changes+1)
	return fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata:
  name: database-%02d-auth
  namespace: team-%02d
type: kubernetes.io/basic-auth
stringData:
  username: %s
  password: %s
sops:
  age:
    - recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
      enc: |
        -----BEGIN AGE ENCRYPTED FILE-----
        %s
        -----END AGE ENCRYPTED FILE-----
  lastmodified: "2026-01-01T00:00:00Z"
  mac: %s
  version: 3.13.3
`, number, folder, encrypted(constant, 8), encrypted(changing, 24), strings.Join(wrapped(noise(constant, 200), 64), "\n        "), encrypted(changing, 64))
}

// random returns the same numbers for the same seed.
func random(seed ...int) *rand.Rand {
	var bytes [32]byte
	copy(bytes[:], fmt.Sprint(seed))
	return rand.New(rand.NewChaCha8(bytes))
}

// encrypted looks like a value that SOPS has encrypted.
func encrypted(random *rand.Rand, size int) string {
	return fmt.Sprintf("ENC[AES256_GCM,data:%s,iv:%s,tag:%s,type:str]", noise(random, size), noise(random, 32), noise(random, 16))
}

func noise(random *rand.Rand, size int) string {
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = byte(random.Uint32())
	}
	return base64.StdEncoding.EncodeToString(bytes)
}

func wrapped(text string, width int) []string {
	var lines []string
	for len(text) > width {
		lines, text = append(lines, text[:width]), text[width:]
	}
	return append(lines, text)
}

// status is one that a bot writes.
type status struct{ path, content, subject, id string }

func newStatus(bot string, number int) status {
	id := fmt.Sprintf("%s-%03d", bot, number)
	return status{
		path:    fmt.Sprintf("%s/%s/request-%03d.yaml", statuses, bot, number),
		content: fmt.Sprintf("metadata:\n  name: request-%03d\nstatus:\n  phase: Successful\n  id: %s\n", number, id),
		subject: fmt.Sprintf("rotate %s/request-%03d: Successful", bot, number), id: id,
	}
}
