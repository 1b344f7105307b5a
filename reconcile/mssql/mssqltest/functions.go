package mssqltest

import (
	"fmt"
	"math"
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
)

// A function is built in. Global variables, as @@VERSION, are functions without arguments.
type function struct {
	least, most int // arguments
	result      func(arguments []tds.Type) tds.Type
	call        func(e *execution, arguments []any) (any, error)
}

// functions are all that there are, by name in upper case. It is filled in by init, since some refer to it.
var functions map[string]function

func init() {
	functions = map[string]function{
		"PWDCOMPARE":         {2, 3, always(intType), pwdCompare},
		"LOGINPROPERTY":      {2, 2, always(variantType), loginProperty},
		"SERVERPROPERTY":     {1, 1, always(variantType), serverProperty},
		"SUSER_SNAME":        {0, 1, always(sysnameType), suserSName},
		"SUSER_NAME":         {0, 1, always(sysnameType), suserName},
		"SUSER_ID":           {0, 1, always(intType), suserID},
		"SUSER_SID":          {0, 1, always(tds.Type{Kind: tds.VarBinary, Size: 85}), suserSID},
		"ORIGINAL_LOGIN":     {0, 0, always(sysnameType), func(e *execution, _ []any) (any, error) { return e.login, nil }},
		"USER_NAME":          {0, 0, always(sysnameType), userName},
		"DB_NAME":            {0, 1, always(sysnameType), dbName},
		"DB_ID":              {0, 1, always(intType), dbID},
		"IS_SRVROLEMEMBER":   {1, 2, always(intType), isServerRoleMember},
		"HAS_PERMS_BY_NAME":  {3, 5, always(intType), hasPermissionsByName},
		"GETDATE":            {0, 0, always(momentType), now},
		"GETUTCDATE":         {0, 0, always(momentType), now},
		"SYSDATETIME":        {0, 0, always(tds.Type{Kind: tds.DateTime2}), now},
		"SYSUTCDATETIME":     {0, 0, always(tds.Type{Kind: tds.DateTime2}), now},
		"HOST_NAME":          {0, 0, always(sysnameType), func(e *execution, _ []any) (any, error) { return e.hello.Host, nil }},
		"APP_NAME":           {0, 0, always(sysnameType), func(e *execution, _ []any) (any, error) { return e.hello.App, nil }},
		"QUOTENAME":          {1, 2, always(tds.Type{Kind: tds.NVarChar, Size: 258}), quoteName},
		"REPLACE":            {3, 3, always(maxType), replace},
		"LEN":                {1, 1, always(intType), length},
		"DATALENGTH":         {1, 1, always(intType), dataLength},
		"UPPER":              {1, 1, first, text(strings.ToUpper)},
		"LOWER":              {1, 1, first, text(strings.ToLower)},
		"LTRIM":              {1, 1, first, text(func(s string) string { return strings.TrimLeft(s, " ") })},
		"RTRIM":              {1, 1, first, text(func(s string) string { return strings.TrimRight(s, " ") })},
		"ISNULL":             {2, 2, first, coalesce},
		"COALESCE":           {1, math.MaxInt, widest, coalesce},
		"CONCAT":             {2, 254, always(maxType), concat},
		"@@VERSION":          {0, 0, always(maxType), productVersion},
		"@@SERVERNAME":       {0, 0, always(sysnameType), func(e *execution, _ []any) (any, error) { return e.server.options.ServerName, nil }},
		"@@SPID":             {0, 0, always(tds.Type{Kind: tds.Int, Size: 2}), func(e *execution, _ []any) (any, error) { return int64(e.id), nil }},
		"@@TRANCOUNT":        {0, 0, always(intType), tranCount},
		"@@MICROSOFTVERSION": {0, 0, always(intType), microsoftVersion},
	}
}

func always(t tds.Type) func([]tds.Type) tds.Type { return func([]tds.Type) tds.Type { return t } }

func first(arguments []tds.Type) tds.Type { return arguments[0] }

func widest(arguments []tds.Type) tds.Type {
	t := arguments[0]
	for _, other := range arguments[1:] {
		t = common(t, other)
	}
	return t
}

// pwdCompare tells whether a password has a hash, without logging in.
func pwdCompare(_ *execution, arguments []any) (any, error) {
	password, ok := arguments[0].(string)
	hash, isHash := arguments[1].([]byte)
	if !ok || !isHash {
		return nil, nil
	}
	if units(password) <= maxPasswordLength && passwordHash(hash).matches(password) {
		return int64(1), nil
	}
	return int64(0), nil
}

func userName(e *execution, _ []any) (any, error) {
	if e.userOf != "" {
		return e.login, nil
	}
	return "dbo", nil
}

func now(e *execution, _ []any) (any, error) { return e.server.now(), nil }

func productVersion(e *execution, _ []any) (any, error) {
	switch e.server.options.Flavour {
	case FlavourAzureSQLDatabase:
		return "Microsoft SQL Azure (RTM) - " + e.server.options.Version + " (gitrota's stand-in)", nil
	case FlavourForeign:
		return "A server that speaks TDS (gitrota's stand-in)", nil
	}
	year := map[byte]int{13: 2016, 14: 2017, 15: 2019, 16: 2022, 17: 2025}[e.server.version[0]]
	return fmt.Sprintf("Microsoft SQL Server %d (RTM) - %s (X64) \n\tDeveloper Edition (64-bit) on Linux (gitrota's stand-in)", year, e.server.options.Version), nil
}

func microsoftVersion(e *execution, _ []any) (any, error) {
	v := e.server.version
	return int64(v[0])<<24 | int64(v[1])<<16 | int64(v[2])<<8 | int64(v[3]), nil
}

func tranCount(e *execution, _ []any) (any, error) {
	if e.tx == nil {
		return int64(0), nil
	}
	return int64(e.tx.depth), nil
}

// quoteName quotes with brackets or with the character that is given. Of a longer name than identifiers have it
// makes NULL, which has taken many a statement apart.
func quoteName(_ *execution, arguments []any) (any, error) {
	if arguments[0] == nil {
		return nil, nil
	}
	name, quote := toText(arguments[0], 0), "["
	if len(arguments) == 2 {
		if arguments[1] == nil {
			return nil, nil
		}
		quote = toText(arguments[1], 0)
	}
	closing := map[string]string{"[": "]", "]": "]", "'": "'", `"`: `"`, "(": ")", ")": ")", "{": "}", "}": "}", "<": ">", ">": "<"}[quote]
	if closing == "" || units(name) > 128 {
		return nil, nil
	}
	opening := map[string]string{"]": "[", ")": "(", "}": "{", ">": "<"}[closing]
	if opening == "" {
		opening = closing
	}
	return opening + strings.ReplaceAll(name, closing, closing+closing) + closing, nil
}

func replace(_ *execution, arguments []any) (any, error) {
	var texts [3]string
	for i, a := range arguments {
		if a == nil {
			return nil, nil
		}
		texts[i] = toText(a, 0)
	}
	if texts[1] == "" {
		return texts[0], nil
	}
	if len(texts[0])+strings.Count(texts[0], texts[1])*len(texts[2]) > tds.MaxMessage {
		return nil, tooLarge()
	}
	return strings.ReplaceAll(texts[0], texts[1], texts[2]), nil
}

func length(_ *execution, arguments []any) (any, error) {
	if arguments[0] == nil {
		return nil, nil
	}
	if b, ok := arguments[0].([]byte); ok {
		return int64(len(b)), nil
	}
	return int64(units(strings.TrimRight(toText(arguments[0], 0), " "))), nil
}

func dataLength(_ *execution, arguments []any) (any, error) {
	switch v := arguments[0].(type) {
	case nil:
		return nil, nil
	case []byte:
		return int64(len(v)), nil
	default:
		return int64(2 * units(toText(v, 0))), nil
	}
}

func text(f func(string) string) func(*execution, []any) (any, error) {
	return func(_ *execution, arguments []any) (any, error) {
		if arguments[0] == nil {
			return nil, nil
		}
		return f(toText(arguments[0], 0)), nil
	}
}

func coalesce(_ *execution, arguments []any) (any, error) {
	for _, a := range arguments {
		if a != nil {
			return a, nil
		}
	}
	return nil, nil
}

func concat(_ *execution, arguments []any) (any, error) {
	var out strings.Builder
	for _, a := range arguments {
		if a != nil {
			out.WriteString(toText(a, 0))
		}
	}
	return out.String(), nil
}
