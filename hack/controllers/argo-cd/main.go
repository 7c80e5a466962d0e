// The controllers of Argo CD that apply and compare, without those that serve its users: argocd-application-controller and
// argocd-repo-server, by the name that the program is called by. `lua` runs the scripts of argocd-cm.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	repository "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/spf13/cobra"
)

func main() {
	commands := map[string]func() *cobra.Command{
		"argocd-application-controller": controller.NewCommand,
		"argocd-repo-server":            repository.NewCommand,
		"argocd-lua":                    newLuaCommand,
	}
	name := filepath.Base(os.Args[0])
	command, known := commands[name]
	if !known {
		fmt.Fprintln(os.Stderr, "unknown program:", name)
		os.Exit(2)
	}
	if command().Execute() != nil {
		os.Exit(1)
	}
}
