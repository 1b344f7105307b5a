package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/gitrota/gitrota/cmd/devcluster/availability"
	"github.com/gitrota/gitrota/cmd/devcluster/controlplane"
	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/cmd/devcluster/pki"
	"github.com/gitrota/gitrota/cmd/devcluster/podrunner"
	"github.com/gitrota/gitrota/cmd/devcluster/provisioner"
)

// serve runs a whole cluster until ctx ends or a part of it dies and is not to be revived. It calls ready once, when the cluster is usable.
func serve(ctx context.Context, dir, kubeconfig string, revive bool, log *slog.Logger, ready func()) error {
	klog.SetSlogLogger(log)
	plane, err := controlplane.Start(ctx, dir, kubeconfig, revive, log)
	if err != nil {
		return err
	}
	defer plane.Stop()

	if err := kubedb.Install(ctx, plane.Config); err != nil {
		return err
	}
	if err := plane.StartControllers(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	wait, err := startStandIns(ctx, plane.Config, dir, log)
	if err != nil {
		cancel()
		return err
	}
	// The stand-ins end before the control plane does: a server that stops has nothing to report then.
	defer func() {
		cancel()
		wait()
	}()
	ready()
	select {
	case err := <-plane.Died():
		return err
	case <-ctx.Done():
		log.Info("ending")
		return nil
	}
}

// startStandIns starts what stands in for a node and for KubeDB. They work until ctx ends; wait returns when they have
// ended.
func startStandIns(ctx context.Context, config *rest.Config, dir string, log *slog.Logger) (wait func(), err error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if err := podrunner.Register(ctx, client); err != nil {
		return nil, err
	}
	authority, err := pki.LoadAuthority(filepath.Join(dir, "pki"), "mssql-ca")
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	databases := dynamicinformer.NewDynamicSharedInformerFactory(dyn, 0)
	volumes, err := podrunner.NewVolumes(client, factory, filepath.Join(dir, "volumes"), log)
	if err != nil {
		return nil, err
	}
	groups := &availability.Groups{}
	pods, err := podrunner.NewRunner(client, factory, groups, dir, log)
	if err != nil {
		return nil, err
	}
	kubeDB, err := provisioner.New(client, dyn, factory, databases, authority, groups, log)
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	databases.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	databases.WaitForCacheSync(ctx.Done())

	var all sync.WaitGroup
	for _, part := range []interface{ Run(context.Context) }{volumes, pods, kubeDB} {
		all.Go(func() { part.Run(ctx) })
	}
	return all.Wait, nil
}
