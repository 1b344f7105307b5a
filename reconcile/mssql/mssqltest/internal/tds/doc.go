// Package tds is the server's side of Microsoft's Tabular Data Stream protocol, version 7.4, as far as a server that
// answers logins, batches and sp_executesql needs it.
//
// It turns bytes into requests and results into bytes and decides nothing: who may log in and what a statement means
// is the caller's business. Everything that a peer sends is untrusted; each parser returns an error on what it cannot
// read, never panics, and never allocates more than the message it was given. Section numbers are those of the
// MS-TDS specification.
package tds
