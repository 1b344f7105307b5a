package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// suppliedBy returns how to fetch the credential that a request refers to: from Git, where it is encrypted, and else
// from the cluster, always in the request's own namespace. What Git held when the request was taken up counts.
func (c *Controller) suppliedBy(r Request) func(context.Context) Supplied {
	inGit := c.set.Secret(r.Namespace, r.SecretRef)
	return func(ctx context.Context) Supplied {
		if inGit == nil {
			return c.suppliedInCluster(ctx, r)
		}
		from := fmt.Sprintf("%s:%d", inGit.Path, inGit.Line)
		credential, problem := manifest.ReadCredential(inGit, c.Keys())
		if problem != nil {
			return Supplied{From: from, Err: &fault.Error{
				Class: fault.Refuse, Reason: problem.Reason, Message: problem.Where() + ": " + problem.Message, Hint: problem.Hint,
			}}
		}
		return Supplied{Credential: credential, From: from}
	}
}

func (c *Controller) suppliedInCluster(ctx context.Context, r Request) Supplied {
	name := r.Namespace + "/" + r.SecretRef
	refuse := func(hint, format string, args ...any) Supplied {
		return Supplied{Err: fault.New(fault.Refuse, ReasonSuppliedSecret, hint, format, args...)}
	}
	secret, err := c.Engine.Cluster.Secret(ctx, r.Namespace, r.SecretRef)
	switch {
	case errors.Is(err, ErrNotFound):
		return refuse("add it to Git, encrypted with SOPS, or create it in the cluster, then add a new request",
			"spec.authentication.secretRef names the Secret %s, which is neither in Git nor in the cluster", name)
	case err != nil:
		return Supplied{Err: err}
	case secret.Type != "kubernetes.io/basic-auth" && secret.Type != "Opaque":
		return refuse("create it with --type=kubernetes.io/basic-auth", "the Secret %s in the cluster is of type %s, not kubernetes.io/basic-auth", name, secret.Type)
	}
	supplied := Supplied{Credential: secret.credential(basicAuth(r.SecretRef)), From: "in the cluster, " + name}
	if supplied.Credential.Username == "" || supplied.Credential.Password.IsZero() {
		return refuse("give it both keys", "the Secret %s in the cluster lacks username or password", name)
	}
	return supplied
}
