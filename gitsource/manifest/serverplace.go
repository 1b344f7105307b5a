package manifest

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	places         = []string{"workload", "selector", "endpoints"}
	workloadFields = []string{"kind", "name"}
	selectorFields = []string{"matchLabels"}
	workloadKinds  = []string{"StatefulSet", "Deployment"}
)

// readPlace reads where the servers are: in exactly one of three ways.
func (s *Server) readPlace(in *reader, spec *yaml.Node) {
	switch ways := given(spec, places...); len(ways) {
	case 0:
		in.problem(spec, ReasonMissingField, "spec does not say where the server is", "give one of workload, selector and endpoints")
	case 1:
	default:
		for _, second := range ways[1:] {
			in.problem(second, ReasonInvalidField,
				fmt.Sprintf("spec.%s and spec.%s are both there, and only one can say where the server is", ways[0].Value, second.Value), "keep one of them")
		}
	}
	s.readWorkload(in, spec)
	s.readSelector(in, spec)
	s.readEndpoints(in, spec)
	if s.Spec.Endpoints != nil {
		for _, key := range given(spec, "container", "port") {
			in.problem(key, ReasonInvalidField, fmt.Sprintf("spec.%s is about pods, and spec.endpoints are none", key.Value), "leave it out")
		}
		return
	}
	s.Spec.Container = defaultContainer
	if container, ok := in.str(spec, "container", "spec.container"); ok && container != "" {
		s.Spec.Container = container
		if !isLabel(container) {
			_, value := get(spec, "container")
			in.problem(value, ReasonInvalidField, fmt.Sprintf("spec.container %q is not the name of a container", cut(container)),
				"use lower case letters, digits and dashes, beginning and ending with a letter or digit")
		}
	}
	s.Spec.Port = in.number(spec, "port", "spec.port", 1, 65535, defaultPort)
}

func (s *Server) readWorkload(in *reader, spec *yaml.Node) {
	workload := in.mapping(spec, "workload", "spec.workload", workloadFields)
	if workload == nil {
		return
	}
	kind, ok := in.str(workload, "kind", "spec.workload.kind")
	switch _, value := get(workload, "kind"); {
	case !ok:
	case kind == "":
		in.problem(workload, ReasonMissingField, "spec.workload.kind is missing", "use StatefulSet or Deployment")
	case !slices.Contains(workloadKinds, kind):
		in.problem(value, ReasonInvalidField, fmt.Sprintf("spec.workload.kind is %q", cut(kind)), "use StatefulSet or Deployment")
	}
	s.Spec.Workload = &Workload{
		Kind: kind, Name: in.name(workload, "name", "spec.workload.name", isSubdomain, "name the workload whose pods run SQL Server"),
	}
}

var labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)

func (s *Server) readSelector(in *reader, spec *yaml.Node) {
	selector := in.mapping(spec, "selector", "spec.selector", selectorFields)
	if selector == nil {
		return
	}
	_, labels := get(selector, "matchLabels")
	if isNull(labels) || labels.Kind != yaml.MappingNode || len(labels.Content) == 0 {
		in.problem(selector, ReasonMissingField, "spec.selector.matchLabels holds no labels, and so would stand for every pod of the namespace",
			"give the labels of the pods that run SQL Server")
		return
	}
	s.Spec.Selector = in.labels(labels, "spec.selector.matchLabels", "pods", "copy key and value from the labels of the pods")
}

func isLabelKey(key string) bool {
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		prefix, name = "x", key
	}
	return isSubdomain(prefix) && name != "" && labelValue.MatchString(name)
}

// readEndpoints reads servers outside of the cluster. What is wrong with one is said without repeating it: connection
// strings hold passwords.
func (s *Server) readEndpoints(in *reader, spec *yaml.Node) {
	seen := map[string]int{}
	for i, item := range in.list(spec, "endpoints", "spec.endpoints") {
		where := fmt.Sprintf("spec.endpoints[%d]", i)
		text, ok := in.scalar(item, where)
		if !ok {
			continue
		}
		endpoint, flaw, hint := readEndpoint(text)
		if first, twice := seen[endpoint]; twice && flaw == "" {
			flaw, hint = fmt.Sprintf("is the server of line %d again", first), "remove one of them"
		}
		if flaw != "" {
			in.problem(item, ReasonInvalidField, where+" "+flaw, hint)
			continue
		}
		seen[endpoint] = item.Line
		s.Spec.Endpoints = append(s.Spec.Endpoints, endpoint)
	}
	if s.Spec.Endpoints == nil && len(given(spec, "endpoints")) > 0 {
		s.Spec.Endpoints = []string{} // it was meant to be such a server, which has neither container nor port
	}
}

// readEndpoint returns host:port in one way of writing, or what is wrong with it and what to do.
func readEndpoint(text string) (endpoint, flaw, hint string) {
	const likeThis = "write host:port, such as sql1.example.com:1433 or [2001:db8::1]:1433"
	switch {
	case strings.Contains(text, "@"):
		return "", "holds a user name or a password, readable in Git, and in its history: treat the password as leaked and never use it again",
			"choose a new password, and write host:port alone; the login is in spec.authSecret"
	case strings.ContainsAny(text, `/\?#;=, `):
		return "", "is more than a host and a port", likeThis
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return "", "is not a host and a port", likeThis
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", "has a port that is not from 1 to 65535", likeThis
	}
	if !isHost(host) {
		return "", "has a host that is neither a DNS name nor an IP address", likeThis
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if address, err := netip.ParseAddr(host); err == nil {
		host = address.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10)), "", ""
}

var hostName = regexp.MustCompile(`^[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?)*\.?$`)

// isHost reports whether a text is a DNS name or an IP address without a zone, which means nothing on another machine.
func isHost(text string) bool {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Zone() == ""
	}
	allDigits := strings.Trim(text, "0123456789.") == "" // an address that is wrong
	return !allDigits && len(text) <= 253 && hostName.MatchString(strings.ToLower(text))
}
