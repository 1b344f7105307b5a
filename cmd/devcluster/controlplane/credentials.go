package controlplane

import (
	"net"
	"path/filepath"

	"github.com/gitrota/gitrota/cmd/devcluster/pki"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// writeCredentials puts into dir/pki what the API server needs to prove itself and to know others, and writes an
// administrator's kubeconfig. What is there already is kept.
func writeCredentials(dir, server, kubeconfig string) error {
	keys := filepath.Join(dir, "pki")
	authority, err := pki.LoadAuthority(keys, "cluster-ca")
	if err != nil {
		return err
	}
	if _, err := pki.LoadSigningKey(keys, "service-accounts"); err != nil {
		return err
	}
	if _, err := authority.Load(keys, "kube-apiserver", pki.Subject{
		CommonName: "kube-apiserver",
		DNSNames:   []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPs:        []net.IP{net.ParseIP(loopback), net.ParseIP("10.96.0.1")},
	}); err != nil {
		return err
	}
	admin, err := authority.Load(keys, "admin", pki.Subject{CommonName: "devcluster-admin", Organization: []string{"system:masters"}})
	if err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters["devcluster"] = &api.Cluster{Server: server, CertificateAuthorityData: authority.Cert}
	config.AuthInfos["admin"] = &api.AuthInfo{ClientCertificateData: admin.Cert, ClientKeyData: admin.Key}
	config.Contexts["devcluster"] = &api.Context{Cluster: "devcluster", AuthInfo: "admin"}
	config.CurrentContext = "devcluster"
	return clientcmd.WriteToFile(*config, kubeconfig)
}
