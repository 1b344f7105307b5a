package tds

import (
	"encoding/binary"
	"fmt"
	"time"
)

// parameter takes the TYPE_INFO and the value of an RPC's parameter.
func (r *reader) parameter() (Type, any) {
	switch token := r.byte(); token {
	case tokenInt1, tokenInt2, tokenInt4, tokenInt8:
		size := map[byte]int{tokenInt1: 1, tokenInt2: 2, tokenInt4: 4, tokenInt8: 8}[token]
		return Type{Int, size}, r.integer(size)
	case tokenIntN:
		size := int(r.byte())
		if size != 1 && size != 2 && size != 4 && size != 8 {
			r.fail(fmt.Errorf("tds: integer of %d bytes", size))
			return Type{}, nil
		}
		return Type{Int, size}, r.integer(int(r.byte()))
	case tokenBit:
		return Type{Kind: Bit}, r.byte() != 0
	case tokenBitN:
		r.byte()
		if r.byte() == 0 {
			return Type{Kind: Bit}, nil
		}
		return Type{Kind: Bit}, r.byte() != 0
	case tokenNVarChar, tokenNChar:
		size := r.uint16()
		r.bytes(len(collation))
		t := Type{Kind: NVarChar}
		if size != lengthMax {
			t.Size = int(size) / 2
		}
		if data := r.counted(size == lengthMax); data != nil {
			return t, DecodeUTF16(data)
		}
		return t, nil
	case tokenBigVarChar, tokenBigChar:
		size := r.uint16()
		r.bytes(len(collation))
		t := Type{Kind: NVarChar}
		if size != lengthMax {
			t.Size = int(size)
		}
		if data := r.counted(size == lengthMax); data != nil {
			return t, latin1(data)
		}
		return t, nil
	case tokenBigVarBinary, tokenBigBinary:
		size := r.uint16()
		t := Type{Kind: VarBinary}
		if size != lengthMax {
			t.Size = int(size)
		}
		if data := r.counted(size == lengthMax); data != nil {
			return t, data
		}
		return t, nil
	case tokenDateTime2, tokenDateTimeOffset:
		return Type{Kind: DateTime2}, r.moment(int(r.byte()))
	case tokenDateTimeN:
		r.byte()
		return Type{Kind: DateTime}, r.dateTime()
	default:
		r.fail(fmt.Errorf("tds: parameter of type %#x is not supported", token))
		return Type{}, nil
	}
}

// integer takes a little-endian integer of size bytes; 0 is NULL. tinyint, the one of 1 byte, has no sign.
func (r *reader) integer(size int) any {
	switch size {
	case 0:
		return nil
	case 1:
		return int64(r.byte())
	case 2:
		return int64(int16(r.uint16()))
	case 4:
		return int64(int32(r.uint32()))
	case 8:
		return int64(r.uint64())
	}
	r.fail(errTruncated)
	return nil
}

// counted takes bytes after their length, or in chunks. It returns nil for NULL and for a malformed value.
func (r *reader) counted(chunked bool) []byte {
	if !chunked {
		size := r.uint16()
		if size == lengthMax || r.err != nil {
			return nil
		}
		return r.bytes(int(size))
	}
	if r.uint64() == plpNull {
		return nil
	}
	data := []byte{}
	for {
		size := r.uint32()
		if r.err != nil {
			return nil
		}
		if size == 0 {
			return data
		}
		data = append(data, r.bytes(int(size))...)
	}
}

// moment takes a datetime2 or a datetimeoffset, whose time of day is in UTC, of a scale from 0 to 7.
func (r *reader) moment(scale int) any {
	size := int(r.byte())
	b := r.bytes(size)
	if len(b) == 0 {
		return nil
	}
	timeSize := 5
	if scale <= 4 {
		timeSize = 4
	}
	if scale <= 2 {
		timeSize = 3
	}
	if scale > 7 || (size != timeSize+3 && size != timeSize+5) {
		r.fail(errTruncated)
		return nil
	}
	var wide [8]byte
	copy(wide[:], b[:timeSize])
	hundreds := binary.LittleEndian.Uint64(wide[:])
	for ; scale < 7; scale++ {
		hundreds *= 10
	}
	day := int(b[timeSize]) | int(b[timeSize+1])<<8 | int(b[timeSize+2])<<16
	return epoch1.AddDate(0, 0, day).Add(time.Duration(hundreds) * 100)
}

// dateTime takes a datetime of 8 bytes.
func (r *reader) dateTime() any {
	switch r.byte() {
	case 0:
		return nil
	case 8:
		day, ticks := int32(r.uint32()), r.uint32()
		return epoch1900.AddDate(0, 0, int(day)).Add(time.Duration(ticks) * time.Second / 300)
	}
	r.fail(errTruncated)
	return nil
}

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
