package tsql

import "strings"

// mask stands for a password in a batch that is shown.
const mask = "'***'"

// Masked returns a batch without the passwords in it, whatever it means and even where it cannot be read. Where the
// word PASSWORD or PWDCOMPARE occurs, every string and hash is taken for one: a batch can carry them in variables and
// in the text of another batch.
func Masked(batch string) string {
	upper := strings.ToUpper(batch)
	if !strings.Contains(upper, "PASSWORD") && !strings.Contains(upper, "PWDCOMPARE") {
		return batch
	}
	tokens, err := lex(batch)
	var shown strings.Builder
	from := 0
	for _, t := range tokens {
		if t.kind == text || t.kind == binary {
			shown.WriteString(batch[from:t.start])
			shown.WriteString(mask)
			from = t.end
		}
	}
	if err != nil {
		return shown.String() + " ..." // where reading ended, nobody can tell what is a password
	}
	return shown.String() + batch[from:]
}
