package tds

import (
	"encoding/binary"
	"strconv"
)

// The tokens of an answer (2.2.7).
const (
	tokenReturnStatus = 0x79
	tokenColMetadata  = 0x81
	tokenError        = 0xAA
	tokenInfo         = 0xAB
	tokenLoginAck     = 0xAD
	tokenFeatureExt   = 0xAE
	tokenRow          = 0xD1
	tokenEnvChange    = 0xE3
	tokenDone         = 0xFD
	tokenDoneProc     = 0xFE
	tokenDoneInProc   = 0xFF
)

// The bits of a DONE token's status.
const (
	doneMore      = 0x001
	doneError     = 0x002
	doneCount     = 0x010
	doneAttention = 0x020
)

// The kinds of environment changes.
const (
	envDatabase   = 1
	envLanguage   = 2
	envPacketSize = 4
	envCollation  = 7
	envBegin      = 8
	envCommit     = 9
	envRollback   = 10
	envReset      = 18
)

// The versions of TDS.
const (
	version74 = 0x74000004
	version80 = 0x08000000
)

const curCmdSelect = 0xC1

// A Notice is an error or an informational message.
type Notice struct {
	Number int32
	State  uint8
	Class  uint8 // above 10 it is an error, from 20 on the connection ends
	Text   string
	Server string
	Line   int
}

// A Column of a result.
type Column struct {
	Name string
	Type Type
}

// A Response collects the tokens of one answer. The zero value is an empty one.
type Response struct {
	data []byte
	last int // where the last DONE token's status is, for Finish
	// InProcedure is set while a stored procedure runs: its statements end with DONEINPROC, not with DONE.
	InProcedure bool
}

// Bytes returns what was collected.
func (r *Response) Bytes() []byte { return r.data }

func (r *Response) u16(v uint16) { r.data = binary.LittleEndian.AppendUint16(r.data, v) }
func (r *Response) u32(v uint32) { r.data = binary.LittleEndian.AppendUint32(r.data, v) }

// shortText appends a text of at most 255 units after its length in one byte.
func (r *Response) shortText(s string) {
	text := EncodeUTF16(s)
	text = text[:min(len(text), 2*255)]
	r.data = append(append(r.data, byte(len(text)/2)), text...)
}

// sized appends a token whose length, in two bytes, goes before its body.
func (r *Response) sized(token byte, body func()) {
	r.data = append(r.data, token, 0, 0)
	start := len(r.data)
	body()
	binary.LittleEndian.PutUint16(r.data[start-2:], uint16(len(r.data)-start))
}

// Notice appends an ERROR or INFO token.
func (r *Response) Notice(n Notice) {
	token := byte(tokenInfo)
	if n.Class > 10 {
		token = tokenError
	}
	r.sized(token, func() {
		r.u32(uint32(n.Number))
		r.data = append(r.data, n.State, n.Class)
		text := EncodeUTF16(n.Text)
		text = text[:min(len(text), 2*2048)] // a message has at most 2,047 characters
		r.u16(uint16(len(text) / 2))
		r.data = append(r.data, text...)
		r.shortText(n.Server)
		r.shortText("")
		r.u32(uint32(n.Line))
	})
}

// LoginAck accepts a login on behalf of SQL Server of the given version, in the client's version of TDS if it is one
// that is spoken here.
func (r *Response) LoginAck(version [4]byte, login Login) {
	r.sized(tokenLoginAck, func() {
		spoken := min(login.Version, version74)
		if login.Version == version80 {
			spoken = version80
		}
		r.data = binary.BigEndian.AppendUint32(append(r.data, 1), spoken)
		r.shortText("Microsoft SQL Server")
		r.data = append(r.data, version[:]...)
	})
	if login.Extensions {
		r.data = append(r.data, tokenFeatureExt, featureEnd)
	}
}

// Database announces the current database.
func (r *Response) Database(name, old string) { r.change(envDatabase, name, old) }

// Environment announces what a login settles once: language, collation and packet size.
func (r *Response) Environment(packetSize int) {
	r.change(envLanguage, "us_english", "")
	r.sized(tokenEnvChange, func() {
		r.data = append(append(r.data, envCollation, byte(len(collation))), collation[:]...)
		r.data = append(r.data, 0)
	})
	r.change(envPacketSize, strconv.Itoa(packetSize), strconv.Itoa(DefaultPacketSize))
}

func (r *Response) change(kind byte, value, old string) {
	r.sized(tokenEnvChange, func() {
		r.data = append(r.data, kind)
		r.shortText(value)
		r.shortText(old)
	})
}

// Began announces the transaction id, which the client's requests carry from now on.
func (r *Response) Began(id uint64) {
	r.sized(tokenEnvChange, func() {
		r.data = append(r.data, envBegin, 8)
		r.data = binary.LittleEndian.AppendUint64(r.data, id)
		r.data = append(r.data, 0)
	})
}

func (r *Response) Committed(id uint64)  { r.ended(envCommit, id) }
func (r *Response) RolledBack(id uint64) { r.ended(envRollback, id) }
func (r *Response) WasReset() {
	r.sized(tokenEnvChange, func() { r.data = append(r.data, envReset, 0, 0) })
}

func (r *Response) ended(kind byte, id uint64) {
	r.sized(tokenEnvChange, func() {
		r.data = append(r.data, kind, 0, 8)
		r.data = binary.LittleEndian.AppendUint64(r.data, id)
	})
}

// Columns begins a result.
func (r *Response) Columns(columns []Column) {
	r.data = append(r.data, tokenColMetadata)
	r.u16(uint16(len(columns)))
	for _, c := range columns {
		r.u32(0)
		r.u16(1) // nullable
		r.data = appendTypeInfo(r.data, c.Type)
		r.shortText(c.Name)
	}
}

// Row appends a row; values are in the order and of the types of columns.
func (r *Response) Row(columns []Column, values []any) {
	r.data = append(r.data, tokenRow)
	for i, c := range columns {
		r.data = appendValue(r.data, c.Type, values[i])
	}
}

// Done ends a statement; failed says that an error was reported for it. More may follow, until Finish.
func (r *Response) Done(failed bool) { r.done(statusOf(failed), 0, 0) }

// DoneRows ends a statement that returned or met rows rows.
func (r *Response) DoneRows(rows int) { r.done(doneCount, curCmdSelect, rows) }

func statusOf(failed bool) uint16 {
	if failed {
		return doneError
	}
	return 0
}

func (r *Response) done(status, command uint16, rows int) {
	token := byte(tokenDone)
	if r.InProcedure {
		token = tokenDoneInProc
	}
	r.append(token, status|doneMore, command, rows)
}

func (r *Response) append(token byte, status, command uint16, rows int) {
	r.data = append(r.data, token)
	r.last = len(r.data)
	r.u16(status)
	r.u16(command)
	r.data = binary.LittleEndian.AppendUint64(r.data, uint64(rows))
}

// Finish ends the answer: the last DONE token loses its mark that more follows, and an empty answer gets one.
func (r *Response) Finish() {
	if r.last == 0 {
		r.Done(false)
	}
	status := binary.LittleEndian.Uint16(r.data[r.last:])
	binary.LittleEndian.PutUint16(r.data[r.last:], status&^doneMore)
}

// EndProcedure ends a stored procedure with its return status, 0 for success.
func (r *Response) EndProcedure(status int32) {
	r.data = append(r.data, tokenReturnStatus)
	r.u32(uint32(status))
	r.append(tokenDoneProc, statusOf(status != 0), 0, 0)
}

// Attention is the answer to a client that cancelled its request.
func Attention() []byte {
	var r Response
	r.append(tokenDone, doneAttention, 0, 0)
	return r.data
}
