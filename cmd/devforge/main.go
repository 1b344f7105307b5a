// What SQL Server makes for itself is readable with it: see cmd/gitrota/main.go.
//go:debug x509negativeserial=1

// Devforge is a real Gitea in one program, for gitrota's tests: a forge with users, pull requests, reviews and webhooks
// on a machine without containers. See `devforge --help`.
package main

import (
	"fmt"
	"os"

	gitea "code.gitea.io/gitea/cmd"
)

const help = `Devforge is a real Gitea in one program, for tests.

  devforge up    start a Gitea and stay with it

Anything else is for Gitea itself: devforge help web.

` + upUsage

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, help)
		os.Exit(2)
	}
	switch os.Args[1] {
	case "up":
		os.Exit(up(os.Args[2:]))
	case "-h", "-help", "--help":
		fmt.Print(help)
	default: // Gitea starts itself again, in the hooks of its repositories
		app := gitea.NewMainApp(gitea.AppVersion{Version: "1.26.0"})
		if err := gitea.RunMainApp(app, os.Args...); err != nil {
			os.Exit(1) // it has said why
		}
	}
}
