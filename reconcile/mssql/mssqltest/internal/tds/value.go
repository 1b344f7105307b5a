package tds

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// A Kind is one of the data types that the server knows.
type Kind int

// The kinds, and the Go values that stand for them. A NULL of any kind is nil.
const (
	Int       Kind = iota // int64; Size 1, 2, 4 or 8 bytes
	Bit                   // bool
	NVarChar              // string; Size in UTF-16 units, 0 for max
	VarBinary             // []byte; Size in bytes, 0 for max
	DateTime              // time.Time, to 1/300 s
	DateTime2             // time.Time, to 100 ns
	Variant               // any of the above
)

// A Type is the type of a column, a variable or a value. The zero value is not a type.
type Type struct {
	Kind Kind
	Size int
}

// collation is SQL_Latin1_General_CP1_CI_AS.
var collation = [5]byte{0x09, 0x04, 0xD0, 0x00, 0x34}

// The type tokens of TYPE_INFO (2.2.5.4).
const (
	tokenGUID           = 0x24
	tokenIntN           = 0x26
	tokenDateTime2      = 0x2A
	tokenDateTimeOffset = 0x2B
	tokenInt1           = 0x30
	tokenBit            = 0x32
	tokenInt2           = 0x34
	tokenInt4           = 0x38
	tokenDateTime       = 0x3D
	tokenVariant        = 0x62
	tokenBitN           = 0x68
	tokenDateTimeN      = 0x6F
	tokenInt8           = 0x7F
	tokenBigVarBinary   = 0xA5
	tokenBigVarChar     = 0xA7
	tokenBigBinary      = 0xAD
	tokenBigChar        = 0xAF
	tokenNVarChar       = 0xE7
	tokenNChar          = 0xEF
)

const (
	maxUnits  = 4000 // UTF-16 units of an nvarchar that is not max
	maxBytes  = 8000 // bytes of a varbinary that is not max
	lengthMax = 0xFFFF
	plpNull   = math.MaxUint64
	// plpUnknown announces chunks without their total, which is how answers are sent.
	plpUnknown = math.MaxUint64 - 1
)

// appendTypeInfo appends t as COLMETADATA describes it.
func appendTypeInfo(b []byte, t Type) []byte {
	switch t.Kind {
	case Int:
		return append(b, tokenIntN, byte(t.Size))
	case Bit:
		return append(b, tokenBitN, 1)
	case NVarChar:
		return append(binary.LittleEndian.AppendUint16(append(b, tokenNVarChar), declared(2*t.Size, 2*maxUnits)), collation[:]...)
	case VarBinary:
		return binary.LittleEndian.AppendUint16(append(b, tokenBigVarBinary), declared(t.Size, maxBytes))
	case DateTime:
		return append(b, tokenDateTimeN, 8)
	case DateTime2:
		return append(b, tokenDateTime2, 7)
	case Variant:
		return binary.LittleEndian.AppendUint32(append(b, tokenVariant), 8009)
	}
	panic(fmt.Sprintf("tds: no type %v", t))
}

func declared(bytes, limit int) uint16 {
	if bytes == 0 || bytes > limit {
		return lengthMax
	}
	return uint16(bytes)
}

// appendValue appends v, which is nil or of t's Go type.
func appendValue(b []byte, t Type, v any) []byte {
	switch t.Kind {
	case NVarChar:
		text, ok := v.(string)
		return appendBytes(b, declared(2*t.Size, 2*maxUnits) == lengthMax, EncodeUTF16(text), !ok)
	case VarBinary:
		data, ok := v.([]byte)
		return appendBytes(b, declared(t.Size, maxBytes) == lengthMax, data, !ok)
	case Variant:
		return appendVariant(b, v)
	}
	if v == nil {
		return append(b, 0)
	}
	switch t.Kind {
	case Int:
		return append(append(b, byte(t.Size)), binary.LittleEndian.AppendUint64(nil, uint64(v.(int64)))[:t.Size]...)
	case Bit:
		return append(b, 1, bit(v.(bool)))
	case DateTime:
		return append(append(b, 8), dateTime(v.(time.Time))...)
	default: // DateTime2
		return append(append(b, 8), dateTime2(v.(time.Time))...)
	}
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// appendBytes appends the value of a type whose length goes first: two bytes, or chunks where it is a max type.
func appendBytes(b []byte, chunked bool, data []byte, null bool) []byte {
	switch {
	case chunked && null:
		return binary.LittleEndian.AppendUint64(b, plpNull)
	case chunked:
		b = binary.LittleEndian.AppendUint64(b, plpUnknown)
		if len(data) > 0 {
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
		}
		return binary.LittleEndian.AppendUint32(b, 0)
	case null:
		return binary.LittleEndian.AppendUint16(b, lengthMax)
	default:
		return append(binary.LittleEndian.AppendUint16(b, uint16(len(data))), data...)
	}
}

// appendVariant appends v with its own type (2.2.5.5.4).
func appendVariant(b []byte, v any) []byte {
	var body []byte
	switch v := v.(type) {
	case nil:
		return binary.LittleEndian.AppendUint32(b, 0)
	case int64:
		body = binary.LittleEndian.AppendUint64([]byte{tokenInt8, 0}, uint64(v))
		if v == int64(int32(v)) {
			body = binary.LittleEndian.AppendUint32([]byte{tokenInt4, 0}, uint32(v))
		}
	case bool:
		body = []byte{tokenBit, 0, bit(v)}
	case string:
		body = append(append([]byte{tokenNVarChar, 7}, collation[:]...), 0x40, 0x1F)
		body = append(body, EncodeUTF16(v)...)
	case []byte:
		body = append([]byte{tokenBigVarBinary, 2, 0x40, 0x1F}, v...)
	case time.Time:
		body = append([]byte{tokenDateTime, 0}, dateTime(v)...)
	}
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(body))), body...)
}

var (
	epoch1900 = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	epoch1    = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
)

// days is the number of days from epoch to t, and the time since midnight.
func days(epoch, t time.Time) (int64, time.Duration) {
	t = t.UTC()
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return (midnight.Unix() - epoch.Unix()) / 86400, t.Sub(midnight)
}

func dateTime(t time.Time) []byte {
	day, sinceMidnight := days(epoch1900, t)
	b := binary.LittleEndian.AppendUint32(nil, uint32(int32(day)))
	return binary.LittleEndian.AppendUint32(b, uint32(sinceMidnight.Microseconds()*3/10000))
}

func dateTime2(t time.Time) []byte {
	day, sinceMidnight := days(epoch1, t)
	b := binary.LittleEndian.AppendUint64(nil, uint64(sinceMidnight/100))[:5]
	return append(b, byte(day), byte(day>>8), byte(day>>16))
}
