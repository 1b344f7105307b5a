package podrunner

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environment is what a kubelet would give to the container if it started now: the Secrets and ConfigMaps are read now,
// and what becomes of them later does not reach the container before it is started again.
func environment(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, container *corev1.Container) (map[string]string, error) {
	e := resolver{client: client, pod: pod, env: map[string]string{}}
	for _, from := range container.EnvFrom {
		if err := e.addAll(ctx, from); err != nil {
			return nil, err
		}
	}
	expand := expansion.MappingFuncFor(e.env)
	for _, entry := range container.Env {
		if entry.ValueFrom == nil {
			e.env[entry.Name] = expansion.Expand(entry.Value, expand)
			continue
		}
		value, found, err := e.value(ctx, entry.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("env %s of container %s: %w", entry.Name, container.Name, err)
		}
		if found {
			e.env[entry.Name] = value
		}
	}
	return e.env, nil
}

type resolver struct {
	client kubernetes.Interface
	pod    *corev1.Pod
	env    map[string]string
}

// addAll adds all keys of a Secret or a ConfigMap.
func (r resolver) addAll(ctx context.Context, from corev1.EnvFromSource) error {
	switch {
	case from.SecretRef != nil:
		data, err := r.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
		for key, value := range data {
			r.env[from.Prefix+key] = string(value)
		}
		return err
	case from.ConfigMapRef != nil:
		data, err := r.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		for key, value := range data {
			r.env[from.Prefix+key] = value
		}
		return err
	}
	return nil
}

// value is that of one variable. It is not found when its source is optional and not there.
func (r resolver) value(ctx context.Context, from *corev1.EnvVarSource) (value string, found bool, err error) {
	switch {
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		data, err := r.secret(ctx, ref.Name, ref.Optional)
		if err != nil {
			return "", false, err
		}
		value, found := data[ref.Key]
		if !found && !isTrue(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %s in Secret %s/%s", ref.Key, r.pod.Namespace, ref.Name)
		}
		return string(value), found, nil
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		data, err := r.configMap(ctx, ref.Name, ref.Optional)
		if err != nil {
			return "", false, err
		}
		value, found := data[ref.Key]
		if !found && !isTrue(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %s in ConfigMap %s/%s", ref.Key, r.pod.Namespace, ref.Name)
		}
		return value, found, nil
	case from.FieldRef != nil:
		return r.field(from.FieldRef.FieldPath)
	}
	return "", false, nil // the other sources say how much memory and the like there is, which nobody here asks for
}

// field is one of the pod itself. The addresses and the node are known only to those who run it.
func (r resolver) field(path string) (value string, found bool, err error) {
	switch path {
	case "spec.nodeName":
		return NodeName, true, nil
	case "spec.serviceAccountName":
		return r.pod.Spec.ServiceAccountName, true, nil
	case "status.podIP", "status.podIPs":
		return r.pod.Status.PodIP, true, nil
	case "status.hostIP", "status.hostIPs":
		return nodeAddress, true, nil
	}
	value, err = fieldpath.ExtractFieldPathAsString(r.pod, path)
	return value, err == nil, err
}

func (r resolver) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	secret, err := r.client.CoreV1().Secrets(r.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if errors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return secret.Data, nil
}

func (r resolver) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	configMap, err := r.client.CoreV1().ConfigMaps(r.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if errors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return configMap.Data, nil
}

func isTrue(flag *bool) bool { return flag != nil && *flag }
