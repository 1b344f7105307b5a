package tds

import (
	"encoding/binary"
	"errors"
)

// Encryption is the ENCRYPTION option of a PRELOGIN (2.2.6.5).
type Encryption byte

// The values of the option. Off encrypts the login alone.
const (
	EncryptOff          Encryption = 0
	EncryptOn           Encryption = 1
	EncryptNotSupported Encryption = 2
	EncryptRequired     Encryption = 3
)

const (
	preloginVersion    = 0
	preloginEncryption = 1
	preloginInstance   = 2
	preloginThread     = 3
	preloginMARS       = 4
	preloginEnd        = 0xFF
)

var errPrelogin = errors.New("tds: malformed PRELOGIN")

// ParsePrelogin returns the encryption that the client asks for.
func ParsePrelogin(data []byte) (Encryption, error) {
	asked := EncryptNotSupported
	for i := 0; ; i += 5 {
		if i >= len(data) {
			return 0, errPrelogin
		}
		if data[i] == preloginEnd {
			return asked, nil
		}
		if i+5 > len(data) {
			return 0, errPrelogin
		}
		offset := int(binary.BigEndian.Uint16(data[i+1:]))
		length := int(binary.BigEndian.Uint16(data[i+3:]))
		if offset+length > len(data) {
			return 0, errPrelogin
		}
		if data[i] == preloginEncryption {
			if length != 1 {
				return 0, errPrelogin
			}
			asked = Encryption(data[offset])
		}
	}
}

// Prelogin is the server's answer.
func Prelogin(version [4]byte, encryption Encryption) []byte {
	options := []struct {
		token byte
		data  []byte
	}{
		{preloginVersion, append(version[:], 0, 0)},
		{preloginEncryption, []byte{byte(encryption)}},
		{preloginInstance, []byte{0}},
		{preloginThread, nil},
		{preloginMARS, []byte{0}},
	}
	var head, body []byte
	offset := len(options)*5 + 1
	for _, o := range options {
		head = append(head, o.token)
		head = binary.BigEndian.AppendUint16(head, uint16(offset+len(body)))
		head = binary.BigEndian.AppendUint16(head, uint16(len(o.data)))
		body = append(body, o.data...)
	}
	return append(append(head, preloginEnd), body...)
}
