package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// environmentSecrets lists the Secrets that a pod takes values of into its environment when it starts, and not again.
func environmentSecrets(pod *corev1.PodSpec) []string {
	var names []string
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, from := range c.EnvFrom {
			if from.SecretRef != nil {
				names = append(names, from.SecretRef.Name)
			}
		}
		for _, env := range c.Env {
			if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
				names = append(names, env.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// usesSecret reports whether a pod mounts the Secret or has it in its environment.
func usesSecret(pod *corev1.PodSpec, name string) bool {
	return slices.Contains(environmentSecrets(pod), name) || slices.ContainsFunc(pod.Volumes, func(volume corev1.Volume) bool {
		if volume.Secret != nil {
			return volume.Secret.SecretName == name
		}
		return volume.Projected != nil && slices.ContainsFunc(volume.Projected.Sources, func(source corev1.VolumeProjection) bool {
			return source.Secret != nil && source.Secret.Name == name
		})
	})
}
