package forgetest

import "github.com/gitrota/gitrota/gitsource/gittest/devprogram"

var devforge = devprogram.Program{
	Name: "devforge", Of: "Gitea", Sources: []string{"cmd/devforge"}, Flags: []string{"-tags=sqlite,sqlite_unlock_notify"}, Env: "GITROTA_DEVFORGE",
}
