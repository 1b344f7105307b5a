package main

import (
	"os"

	"code.gitea.io/gitea/cmd"
	_ "code.gitea.io/gitea/modules/markup/markdown"
)

func main() {
	app := cmd.NewMainApp(cmd.AppVersion{Version: "1.26.0"})
	if err := cmd.RunMainApp(app, os.Args...); err != nil {
		os.Exit(1)
	}
}
