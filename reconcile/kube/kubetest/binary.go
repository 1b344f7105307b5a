package kubetest

import "github.com/gitrota/gitrota/gitsource/gittest/devprogram"

// sources are the folders of this repository that devcluster is built from. A test compares them with what the go
// command says.
var sources = []string{"cmd/devcluster", "policies/credential", "reconcile/mssql/mssqltest"}

var devcluster = devprogram.Program{Name: "devcluster", Of: "Kubernetes", Sources: sources, Env: "GITROTA_DEVCLUSTER"}
