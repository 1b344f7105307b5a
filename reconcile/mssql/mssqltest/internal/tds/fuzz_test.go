package tds

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRequests tries all that read what a client sends.
func FuzzRequests(f *testing.F) {
	f.Add(Prelogin([4]byte{16}, EncryptOn))
	f.Add(make([]byte, loginFixedSize))
	f.Add(sampleLogin())
	f.Add(append(sampleHeaders(), EncodeUTF16("SELECT 1")...))
	f.Add(append(sampleHeaders(), 0xFF, 0xFF, 10, 0, 0, 0, 0, 0, tokenNVarChar, 0xFF, 0xFF, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 'x', 0, 0, 0, 0, 0))
	f.Add(append(sampleHeaders(), 0xFF, 0xFF, 10, 0, 0, 0, 0, 0, tokenDateTimeOffset, 7, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
	f.Add(append(sampleHeaders(), 5, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		ParsePrelogin(data)
		ParseLogin(data)
		ParseBatch(data)
		ParseTransaction(data)
		call, err := ParseRPC(data)
		if err != nil {
			return
		}
		// What was read can be sent back.
		var answer Response
		for _, p := range call.Parameters {
			columns := []Column{{Name: p.Name, Type: p.Type}}
			answer.Columns(columns)
			answer.Row(columns, []any{p.Value})
		}
	})
}

// FuzzConn feeds a connection with packets; each message ends, or the connection does.
func FuzzConn(f *testing.F) {
	f.Add(packets(PacketBatch, 0, DefaultPacketSize, bytes.Repeat([]byte{1}, 10_000)))
	f.Add([]byte{1, 1, 0, 7, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0xFF, 0xFF, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		conn := NewConn(recorded{from: bytes.NewReader(data)})
		for {
			m, err := conn.Read()
			if err != nil {
				return
			}
			require.LessOrEqual(t, len(m.Data), len(data))
		}
	})
}

// recorded is a connection on which a client has said what it has to say.
type recorded struct {
	net.Conn
	from *bytes.Reader
}

func (r recorded) Read(p []byte) (int, error) { return r.from.Read(p) }

func sampleHeaders() []byte {
	h := binary.LittleEndian.AppendUint32(nil, 22)
	h = binary.LittleEndian.AppendUint32(h, 18)
	h = binary.LittleEndian.AppendUint16(h, 2)
	return append(h, make([]byte, 12)...)
}

func sampleLogin() []byte {
	login := make([]byte, loginFixedSize)
	binary.LittleEndian.PutUint16(login[40:], loginFixedSize)
	binary.LittleEndian.PutUint16(login[42:], 2)
	login = append(login, EncodeUTF16("sa")...)
	binary.LittleEndian.PutUint32(login, uint32(len(login)))
	return login
}
