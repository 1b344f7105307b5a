package tds

import (
	"encoding/binary"
	"errors"
)

// A Login is what a LOGIN7 message says (2.2.6.4).
type Login struct {
	Version         uint32 // of TDS
	PacketSize      uint32
	ClientVersion   uint32
	ProcessID       uint32
	Host            string
	User            string
	Password        string
	App             string
	ClientInterface string
	Database        string
	ChangePassword  bool   // the password is to be changed while logging in
	NewPassword     string // what to change it to
	Integrated      bool   // Windows authentication is asked for
	Federated       bool   // an access token takes the place of the password
	Extensions      bool   // the client wants its feature extensions acknowledged
}

const (
	loginFixedSize = 94

	flag2Integrated     = 0x80
	flag3ChangePassword = 0x01
	flag3Extension      = 0x10
	featureFedAuth      = 0x02
	featureEnd          = 0xFF
)

var errLogin = errors.New("tds: malformed LOGIN7")

// ParseLogin reads a LOGIN7 message.
func ParseLogin(data []byte) (Login, error) {
	if len(data) < loginFixedSize || binary.LittleEndian.Uint32(data) != uint32(len(data)) {
		return Login{}, errLogin
	}
	l := Login{
		Version:        binary.LittleEndian.Uint32(data[4:]),
		PacketSize:     binary.LittleEndian.Uint32(data[8:]),
		ClientVersion:  binary.LittleEndian.Uint32(data[12:]),
		ProcessID:      binary.LittleEndian.Uint32(data[16:]),
		Integrated:     data[25]&flag2Integrated != 0,
		ChangePassword: data[27]&flag3ChangePassword != 0,
	}
	for _, field := range []struct {
		at       int
		hidden   bool
		received *string
	}{
		{36, false, &l.Host},
		{40, false, &l.User},
		{44, true, &l.Password},
		{48, false, &l.App},
		{60, false, &l.ClientInterface},
		{68, false, &l.Database},
		{86, true, &l.NewPassword},
	} {
		offset := int(binary.LittleEndian.Uint16(data[field.at:]))
		length := 2 * int(binary.LittleEndian.Uint16(data[field.at+2:]))
		if length == 0 {
			continue
		}
		if offset+length > len(data) {
			return Login{}, errLogin
		}
		text := data[offset : offset+length]
		if field.hidden {
			text = unhide(text)
		}
		*field.received = DecodeUTF16(text)
	}
	if data[27]&flag3Extension != 0 {
		federated, err := federated(data)
		if err != nil {
			return Login{}, err
		}
		l.Extensions, l.Federated = true, federated
	}
	return l, nil
}

// unhide undoes what LOGIN7 does to passwords: halves of each byte swapped, after an exclusive or.
func unhide(hidden []byte) []byte {
	plain := make([]byte, len(hidden))
	for i, b := range hidden {
		b ^= 0xA5
		plain[i] = b<<4 | b>>4
	}
	return plain
}

// federated reports whether the list of feature extensions asks for federated authentication.
func federated(data []byte) (bool, error) {
	at := int(binary.LittleEndian.Uint16(data[56:]))
	if at+4 > len(data) {
		return false, errLogin
	}
	list := uint64(binary.LittleEndian.Uint32(data[at:]))
	for list < uint64(len(data)) {
		feature := data[list]
		if feature == featureEnd {
			return false, nil
		}
		if feature == featureFedAuth {
			return true, nil
		}
		if list+5 > uint64(len(data)) {
			break
		}
		list += 5 + uint64(binary.LittleEndian.Uint32(data[list+1:]))
	}
	return false, errLogin
}
