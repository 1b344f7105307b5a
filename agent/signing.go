package agent

import (
	"fmt"

	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile"
)

// loadSigning reads the key for the status commits; nil without one.
func loadSigning(o Options) (*signature.Key, error) {
	if o.SigningKey == "" {
		return nil, nil
	}
	key, err := signature.LoadKey(o.SigningKey)
	if err != nil {
		return nil, fmt.Errorf("--signing-key: %w", err)
	}
	o.Log.Info("status commits are signed", "key", key.String())
	return key, nil
}

// loadRequestSigners reads whose commits may bring requests; nil for anybody's.
func loadRequestSigners(o Options) (reconcile.Signers, error) {
	if o.RequestSigners == "" {
		return nil, nil
	}
	signers, err := signature.LoadSigners(o.RequestSigners)
	if err != nil {
		return nil, fmt.Errorf("--request-signers: %w", err)
	}
	return signers, nil
}

// loadApprovalSigners reads whose signed commits approve; without a list of their own, those whose commits may bring
// requests.
func loadApprovalSigners(o Options, requesters reconcile.Signers) (reconcile.Signers, error) {
	if o.ApprovalSigners == "" {
		return requesters, nil
	}
	signers, err := signature.LoadSigners(o.ApprovalSigners)
	if err != nil {
		return nil, fmt.Errorf("--approval-signers: %w", err)
	}
	return signers, nil
}
