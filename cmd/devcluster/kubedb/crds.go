package kubedb

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

//go:embed crds/*.yaml
var definitions embed.FS

// establishTimeout is how long the API server may take to serve a new kind. It needs about a second.
const establishTimeout = time.Minute

// Install creates KubeDB's kinds, brings those that are there up to date, and returns when the API server serves them.
func Install(ctx context.Context, config *rest.Config) error {
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return err
	}
	files, err := fs.Glob(definitions, "crds/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := definitions.ReadFile(file)
		if err != nil {
			return err
		}
		var crd apiextensions.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		if err := install(ctx, client, &crd); err != nil {
			return fmt.Errorf("installing %s: %w", file, err)
		}
	}
	return nil
}

func install(ctx context.Context, client clientset.Interface, crd *apiextensions.CustomResourceDefinition) error {
	crds := client.ApiextensionsV1().CustomResourceDefinitions()
	_, err := crds.Create(ctx, crd, metav1.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		var live *apiextensions.CustomResourceDefinition
		if live, err = crds.Get(ctx, crd.Name, metav1.GetOptions{}); err == nil {
			live.Spec = crd.Spec
			_, err = crds.Update(ctx, live, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, establishTimeout, true, func(ctx context.Context) (bool, error) {
		live, err := crds.Get(ctx, crd.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(live.Status.Conditions, func(c apiextensions.CustomResourceDefinitionCondition) bool {
			return c.Type == apiextensions.Established && c.Status == apiextensions.ConditionTrue
		}), nil
	})
}
