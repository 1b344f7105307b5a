package schedule

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

const (
	longestName = 63 // of a request: it is the value of labels, too
	digestChars = 10 // of a shortened name; 40 bits, for databases whose long names begin alike
)

// requestName names the request that rotates a database for a date, so that whoever writes it writes the same file:
// orders-scheduled-20261201t0300z. The digest in the name of a database that is too long keeps it unique.
func requestName(database string, date time.Time) string {
	name := database[strings.LastIndexByte(database, '/')+1:]
	suffix := date.UTC().Format("-scheduled-20060102t1504z")
	if len(name)+len(suffix) > longestName {
		digest := sha256.Sum256([]byte(name))
		short := name[:longestName-len(suffix)-digestChars-1]
		name = strings.TrimRight(short, "-.") + "-" + hex.EncodeToString(digest[:])[:digestChars]
	}
	return name + suffix
}
