package tsql

import (
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	end      tokenKind = iota
	word               // an identifier or a keyword without quotes
	quoted             // an identifier in brackets or double quotes
	text               // a string
	number             // digits
	binary             // 0x and hexadecimal digits
	variable           // @name
	global             // @@name
	symbol             // an operator or punctuation
)

const maxIdentifier = 128

// A token's value is what it means: a string without quotes, an identifier without brackets.
type token struct {
	kind       tokenKind
	value      string
	line       int
	start, end int // where it stands in the batch, in bytes
}

// is reports whether t is the keyword or symbol s.
func (t token) is(s string) bool {
	return (t.kind == word || t.kind == symbol) && strings.EqualFold(t.value, s)
}

// refused is the syntax error that t causes.
func (t token) refused() *Error {
	if t.kind == word && reserved[strings.ToUpper(t.value)] {
		return Errorf(156, 15, "Incorrect syntax near the keyword '%s'.", t.value).at(t.line)
	}
	return Errorf(102, 15, "Incorrect syntax near '%s'.", t.value).at(t.line)
}

type lexer struct {
	src  string
	at   int
	line int
}

// lex returns the tokens of src, the last one of kind end.
func lex(src string) ([]token, *Error) {
	l := &lexer{src: src, line: 1}
	var tokens []token
	for {
		t, err := l.next()
		if err != nil {
			return tokens, err
		}
		if t.kind == end && len(tokens) > 0 {
			// SQL Server names the last word when a batch ends too early.
			t.value = tokens[len(tokens)-1].value
		}
		tokens = append(tokens, t)
		if t.kind == end {
			return tokens, nil
		}
	}
}

func (l *lexer) next() (token, *Error) {
	if err := l.skipSpace(); err != nil {
		return token{}, err
	}
	t := token{line: l.line, start: l.at}
	rest := l.src[l.at:]
	if rest == "" {
		t.end = l.at
		return t, nil
	}
	var err *Error
	first, size := utf8.DecodeRuneInString(rest)
	switch {
	case first == '\'':
		t.kind = text
		t.value, err = l.delimited('\'', 1)
		t.value = codePage(t.value)
	case (first == 'N' || first == 'n') && strings.HasPrefix(rest[1:], "'"):
		t.kind = text
		t.value, err = l.delimited('\'', 2)
	case first == '[':
		t.kind = quoted
		t.value, err = l.delimited(']', 1)
	case first == '"':
		t.kind = quoted
		t.value, err = l.delimited('"', 1)
	case len(rest) > 1 && first == '0' && (rest[1] == 'x' || rest[1] == 'X'):
		t.kind = binary
		l.at += 2
		t.value, err = l.hexadecimal()
	case '0' <= first && first <= '9':
		t.kind = number
		t.value = l.run(func(r rune) bool { return '0' <= r && r <= '9' })
	case first == '@' || isWord(first):
		t.value = l.run(func(r rune) bool { return isWord(r) || r == '@' })
		t.kind = word
		if first == '@' {
			t.kind = variable
		}
		if strings.HasPrefix(t.value, "@@") {
			t.kind = global
		}
	default:
		t.kind = symbol
		for _, long := range []string{"<>", "!=", "<=", ">="} {
			if strings.HasPrefix(rest, long) {
				size = len(long)
			}
		}
		t.value = rest[:size]
		l.at += size
	}
	t.end = l.at
	if err == nil && (t.kind == word || t.kind == quoted) && utf8.RuneCountInString(t.value) > maxIdentifier {
		err = Errorf(103, 15, "The identifier that starts with '%s' is too long. Maximum length is %d.",
			string([]rune(t.value)[:maxIdentifier]), maxIdentifier).at(t.line)
	}
	return t, err
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '#' || r == '$'
}

// run takes the characters that belong.
func (l *lexer) run(belongs func(rune) bool) string {
	rest := l.src[l.at:]
	size := strings.IndexFunc(rest, func(r rune) bool { return !belongs(r) })
	if size < 0 {
		size = len(rest)
	}
	l.at += size
	return rest[:size]
}

// delimited takes what stands before the closing quote, in which a doubled quote is one; open bytes go before it.
func (l *lexer) delimited(closing byte, open int) (string, *Error) {
	line := l.line
	l.at += open
	from := l.at
	var value strings.Builder
	for ; l.at < len(l.src); l.at++ {
		c := l.src[l.at]
		if c == closing {
			if l.at+1 == len(l.src) || l.src[l.at+1] != closing {
				l.at++
				return value.String(), nil
			}
			l.at++
		}
		if c == '\n' {
			l.line++
		}
		value.WriteByte(c)
	}
	return "", Errorf(105, 15, "Unclosed quotation mark after the character string '%s'.", l.src[from:]).at(line)
}

func (l *lexer) hexadecimal() (string, *Error) {
	digits := l.run(func(r rune) bool { return r < 0x80 && unicode.Is(unicode.ASCII_Hex_Digit, r) })
	if len(digits)%2 != 0 {
		digits = "0" + digits
	}
	value, err := hex.DecodeString(digits)
	if err != nil {
		return "", Errorf(102, 15, "Incorrect syntax near '0x%s'.", digits).at(l.line)
	}
	return string(value), nil
}

// skipSpace skips white space and comments; those in /* */ nest.
func (l *lexer) skipSpace() *Error {
	for l.at < len(l.src) {
		rest := l.src[l.at:]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case strings.HasPrefix(rest, "--"):
			if size = strings.IndexByte(rest, '\n'); size < 0 {
				size = len(rest)
			}
		case strings.HasPrefix(rest, "/*"):
			if size = comment(rest); size < 0 {
				return Errorf(113, 15, "Missing end comment mark '*/'.").at(l.line)
			}
			l.line += strings.Count(rest[:size], "\n")
		case r == '\n':
			l.line++
		case unicode.IsSpace(r) || r == 0xFEFF:
		default:
			return nil
		}
		l.at += size
	}
	return nil
}

// comment returns the length of the comment that s begins with, or -1 where it has no end.
func comment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); {
		switch s[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
		default:
			i++
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

// windows1252 are the characters that the code page has beyond Latin-1.
const windows1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"

// codePage does to a string without N what the server's code page does to it: what it does not have becomes '?'.
func codePage(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 || (r >= 0xA0 && r <= 0xFF) || strings.ContainsRune(windows1252, r) {
			return r
		}
		return '?'
	}, s)
}
