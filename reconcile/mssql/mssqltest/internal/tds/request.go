package tds

import (
	"errors"
	"fmt"
)

// headers skips ALL_HEADERS (2.2.5.3), which batches, RPCs and transaction requests begin with.
func (r *reader) headers() {
	total := r.uint32()
	if r.err == nil && (total < 4 || uint64(total-4) > uint64(len(r.data))) {
		r.err = errTruncated
		return
	}
	r.bytes(int(total) - 4)
}

// ParseBatch returns the text of a SQL batch (2.2.6.7).
func ParseBatch(data []byte) (string, error) {
	r := &reader{data: data}
	r.headers()
	if r.err == nil && len(r.data)%2 != 0 {
		r.err = errTruncated
	}
	text := r.text(len(r.data) / 2)
	return text, r.err
}

// An RPC is a call of a stored procedure (2.2.6.6).
type RPC struct {
	Name       string
	Parameters []Parameter
}

// A Parameter of an RPC. Value is as in [Type].
type Parameter struct {
	Name  string // with its @; empty where it is given by position
	Type  Type
	Value any
}

// procedures are those that are called by number.
var procedures = map[uint16]string{10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec", 15: "sp_unprepare"}

const maxParameters = 2100

// ErrOutput says that a client asked for output parameters, which this server does not have.
var ErrOutput = errors.New("tds: output parameters are not supported")

// ParseRPC reads a remote procedure call.
func ParseRPC(data []byte) (RPC, error) {
	r := &reader{data: data}
	r.headers()
	var call RPC
	if n := r.uint16(); n == 0xFFFF {
		id := r.uint16()
		name, known := procedures[id]
		if !known {
			name = fmt.Sprintf("procedure %d", id)
		}
		call.Name = name
	} else {
		call.Name = r.text(int(n))
	}
	r.uint16() // option flags: recompile, no metadata
	for r.err == nil && len(r.data) > 0 {
		if len(call.Parameters) == maxParameters {
			return RPC{}, fmt.Errorf("tds: more than %d parameters", maxParameters)
		}
		p := Parameter{Name: r.text(int(r.byte()))}
		if flags := r.byte(); flags&0x01 != 0 {
			return RPC{}, ErrOutput
		}
		p.Type, p.Value = r.parameter()
		call.Parameters = append(call.Parameters, p)
	}
	return call, r.err
}

// A TransactionRequest is what a client asks of the transaction manager (2.2.6.9).
type TransactionRequest uint16

// The requests that are served.
const (
	TransactionBegin    TransactionRequest = 5
	TransactionCommit   TransactionRequest = 7
	TransactionRollback TransactionRequest = 8
)

// ParseTransaction reads a transaction manager request.
func ParseTransaction(data []byte) (TransactionRequest, error) {
	r := &reader{data: data}
	r.headers()
	request := TransactionRequest(r.uint16())
	return request, r.err
}
