// Package hosts decides to which servers outside of the cluster a credential may be sent. Whoever installs gitrota lists
// them, so that nobody who can only write a manifest can have a password sent to a server of his own.
package hosts

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// List is the hosts that are allowed. The zero value allows none.
type List []entry

type entry struct {
	host string // in lower case; "*.example.com" is any host below example.com
	port string // empty: every port
}

// Parse reads a list such as "sql1.example.com:1433,*.db.example.com". An entry is a host name, an IP address, or a
// domain with *. before it, and may have a port. Nothing else is a pattern: "*" alone would be no list.
func Parse(text string) (List, error) {
	var list List
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		e := entry{host: strings.ToLower(strings.Trim(field, "[]"))}
		if host, port, ok := split(field); ok {
			e = entry{host: strings.ToLower(host), port: port}
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				return nil, fmt.Errorf("%q: the port is not a number from 1 to 65535", field)
			}
		}
		domain := strings.TrimPrefix(e.host, "*.")
		if domain == "" || strings.ContainsAny(domain, "*/@?") || strings.Contains(domain, ":") && !isAddress(domain) {
			return nil, fmt.Errorf("%q is not a host, a host:port, or a domain as *.example.com", field)
		}
		list = append(list, e)
	}
	return list, nil
}

// split takes a host and a port apart; an IPv6 address with a port is in brackets.
func split(endpoint string) (host, port string, ok bool) {
	at := strings.LastIndexByte(endpoint, ':')
	if at < 0 || isAddress(endpoint) {
		return "", "", false
	}
	host, port = endpoint[:at], endpoint[at+1:]
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		return inner, port, found
	}
	return host, port, !strings.Contains(host, ":")
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// Allows reports whether an endpoint, "host:port", is on the list.
func (l List) Allows(endpoint string) bool {
	host, port, ok := split(endpoint)
	if !ok {
		return false
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, e := range l {
		if (e.port == "" || e.port == port) && e.matches(host) {
			return true
		}
	}
	return false
}

func (e entry) matches(host string) bool {
	if domain, ok := strings.CutPrefix(e.host, "*"); ok {
		return strings.HasSuffix(host, domain) && len(host) > len(domain)
	}
	return host == e.host
}
