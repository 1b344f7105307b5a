package mssqltest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// convert makes v a value of type to, in CONVERT's style. NULL stays NULL.
func convert(v any, to tds.Type, style int) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch to.Kind {
	case tds.Int:
		return toInteger(v, to.Size)
	case tds.Bit:
		n, err := toInteger(v, 8)
		return n != 0, err
	case tds.NVarChar:
		text := toText(v, style)
		if len(text) > tds.MaxMessage {
			return nil, tooLarge()
		}
		return truncate(text, to.Size), nil
	case tds.VarBinary:
		return toBinary(v, to.Size, style)
	case tds.DateTime, tds.DateTime2:
		return toTime(v)
	default:
		return v, nil
	}
}

func toInteger(v any, size int) (int64, error) {
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case bool:
		if v {
			n = 1
		}
	case string:
		parsed, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		if err != nil && strings.TrimSpace(v) != "" {
			return 0, tsql.Errorf(245, 16, "Conversion failed when converting the nvarchar value '%s' to data type int.", v)
		}
		n = parsed
	default:
		return 0, cannotConvert(v, "int")
	}
	if size < 8 && (n >= 1<<(8*size-1) || n < -1<<(8*size-1)) && !(size == 1 && n >= 0 && n < 256) {
		return 0, tsql.Errorf(8115, 16, "Arithmetic overflow error converting expression to data type int.")
	}
	return n, nil
}

func toText(v any, style int) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		if v {
			return "1"
		}
		return "0"
	case []byte:
		switch style {
		case 1:
			return "0x" + strings.ToUpper(hex.EncodeToString(v))
		case 2:
			return strings.ToUpper(hex.EncodeToString(v))
		}
		return tds.DecodeUTF16(v)
	case time.Time:
		switch style {
		case 126, 127:
			return v.Format("2006-01-02T15:04:05.000")
		case 20, 120:
			return v.Format("2006-01-02 15:04:05")
		case 21, 121:
			return v.Format("2006-01-02 15:04:05.000")
		}
		return v.Format("Jan _2 2006 ") + fmt.Sprintf("%7s", v.Format("3:04PM"))
	}
	return fmt.Sprint(v)
}

// truncate cuts a text to size characters, as an assignment to a variable does; 0 is any length.
func truncate(s string, size int) string {
	u := utf16.Encode([]rune(s))
	if size == 0 || len(u) <= size {
		return s
	}
	return string(utf16.Decode(u[:size]))
}

func toBinary(v any, size, style int) (any, error) {
	var b []byte
	switch v := v.(type) {
	case []byte:
		b = v
	case string:
		b = tds.EncodeUTF16(v)
		if style == 1 || style == 2 {
			digits := v
			if style == 1 {
				digits = strings.TrimPrefix(v, "0x")
			}
			decoded, err := hex.DecodeString(digits)
			if err != nil {
				return nil, tsql.Errorf(8114, 16, "Error converting data type nvarchar to varbinary.")
			}
			b = decoded
		}
	default:
		return nil, cannotConvert(v, "varbinary")
	}
	if size > 0 {
		b = b[:min(len(b), size)]
	}
	return b, nil
}

var timeLayouts = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00", "2006-01-02", "20060102"}

func toTime(v any) (any, error) {
	switch v := v.(type) {
	case time.Time:
		return v, nil
	case string:
		for _, layout := range timeLayouts {
			if t, err := time.Parse(layout, v); err == nil {
				return t, nil
			}
		}
		return nil, tsql.Errorf(241, 16, "Conversion failed when converting date and/or time from character string.")
	}
	return nil, cannotConvert(v, "datetime")
}

// tooLarge keeps a batch from doubling a text until memory is exhausted.
func tooLarge() error {
	return tsql.Errorf(7119, 16, "Attempting to grow LOB beyond maximum allowed size of %d bytes.", tds.MaxMessage)
}

func cannotConvert(v any, to string) error {
	return tsql.Errorf(529, 16, "Explicit conversion from data type %s to %s is not allowed.", typeName(v), to)
}

func typeName(v any) string {
	switch v.(type) {
	case int64:
		return "int"
	case bool:
		return "bit"
	case []byte:
		return "varbinary"
	case time.Time:
		return "datetime"
	}
	return "nvarchar"
}

// fold makes texts equal that the server's collation does not tell apart.
func fold(s string) string { return strings.ToLower(strings.TrimRight(s, " ")) }

// compare orders two values, neither NULL. Where their types differ, the one that ranks lower is converted.
func compare(a, b any) (int, error) {
	switch x := a.(type) {
	case time.Time:
		y, err := toTime(b)
		if err != nil {
			return 0, err
		}
		return x.Compare(y.(time.Time)), nil
	case int64, bool:
		if _, isTime := b.(time.Time); isTime {
			break
		}
		m, err := toInteger(a, 8)
		if err != nil {
			return 0, err
		}
		n, err := toInteger(b, 8)
		return cmp.Compare(m, n), err
	case []byte:
		if y, ok := b.([]byte); ok {
			return bytes.Compare(x, y), nil
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(fold(x), fold(y)), nil
		}
		if _, isBinary := b.([]byte); !isBinary {
			n, err := compare(b, a)
			return -n, err
		}
	}
	return 0, tsql.Errorf(402, 16, "The data types %s and %s are incompatible in the equal to operator.", typeName(a), typeName(b))
}
