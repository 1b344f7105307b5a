package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/mounted"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

// followGuardrails reads the guardrails now, and again whenever their file changes; without a file there are none.
func followGuardrails(o Options) (func() guardrails.Guardrails, error) {
	if o.Guardrails == "" {
		return func() guardrails.Guardrails { return guardrails.Guardrails{} }, nil
	}
	file, err := mounted.Follow(o.Guardrails, loadGuardrails, o.Log)
	if err != nil {
		return nil, err
	}
	return file.Value, nil
}

func loadGuardrails(path string) (guardrails.Guardrails, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return guardrails.Guardrails{}, err
	}
	rails, problems := manifest.ParseGuardrails(path, content)
	if len(problems) > 0 {
		var lines []string
		for _, p := range problems {
			lines = append(lines, p.String())
		}
		return rails, fmt.Errorf("they cannot be followed:\n%s", strings.Join(lines, "\n"))
	}
	if rails.DenyListFile == "" {
		return rails, nil
	}
	list, err := os.ReadFile(filepath.Join(filepath.Dir(path), rails.DenyListFile))
	if err != nil {
		return rails, fmt.Errorf("reading spec.denyListFile of %s: %w", path, err)
	}
	for line := range strings.Lines(string(list)) {
		if word := strings.TrimSpace(line); word != "" {
			rails.DenyList = append(rails.DenyList, word)
		}
	}
	return rails, nil
}

// openForge prepares to ask the forge about pull requests; nil where there is none to ask.
func openForge(o Options) (reconcile.Forge, error) {
	if o.Forge == "" && o.ForgeAuth == "" {
		return nil, nil
	}
	auth := o.ForgeAuth
	if auth == "" {
		auth = o.GitAuth
	}
	client, err := forge.Open(forge.Options{
		Kind: forge.Kind(o.Forge), URL: o.Repo, API: o.ForgeAPI, AuthDir: auth, AllowPlainHTTP: o.AllowPlainHTTP, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	return client, nil
}

// escrow encrypts generated credentials for the recipients that the guardrails name by then, if they name any.
func escrow(rails func() guardrails.Guardrails) func(namespace, name string, c credential.Credential) ([]byte, error) {
	return func(namespace, name string, c credential.Credential) ([]byte, error) {
		recipients := rails().Escrow
		if len(recipients) == 0 {
			return nil, nil
		}
		return manifest.SealCredential(namespace, name, c, recipients)
	}
}
