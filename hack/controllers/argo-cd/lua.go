package main

import (
	"encoding/json"
	"fmt"
	"os"

	argo "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Returns the command `argocd-lua CONFIGMAP-FILE [ACTION]`: reads an object from standard input and prints its health and its actions,
// or the object that the action makes of it.
func newLuaCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "argocd-lua CONFIGMAP-FILE [ACTION]",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, arguments []string) error {
			var object unstructured.Unstructured
			if err := json.NewDecoder(os.Stdin).Decode(&object.Object); err != nil {
				return err
			}
			vm, actions, err := read(arguments[0], object)
			if err != nil {
				return err
			}
			if len(arguments) == 1 {
				return describe(vm, object, actions)
			}
			return act(vm, object, arguments[1])
		},
	}
}

// Returns the scripts that the ConfigMap has for the object, and the text of those for actions.
func read(path string, object unstructured.Unstructured) (lua.VM, argo.ResourceActions, error) {
	var config core.ConfigMap
	var actions argo.ResourceActions
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.UnmarshalStrict(text, &config)
	}
	if err != nil {
		return lua.VM{}, actions, err
	}
	kind := object.GroupVersionKind().Group + "_" + object.GetKind()
	script := config.Data["resource.customizations.actions."+kind]
	override := argo.ResourceOverride{HealthLua: config.Data["resource.customizations.health."+kind], Actions: script}
	vm := lua.VM{ResourceOverrides: map[string]argo.ResourceOverride{lua.GetConfigMapKey(object.GroupVersionKind()): override}}
	return vm, actions, yaml.Unmarshal([]byte(script), &actions)
}

func describe(vm lua.VM, object unstructured.Unstructured, actions argo.ResourceActions) error {
	health, err := lua.ResourceHealthOverrides(vm.ResourceOverrides).GetResourceHealth(&object)
	if err != nil {
		return err
	}
	offered, err := vm.ExecuteResourceActionDiscovery(&object, []string{actions.ActionDiscoveryLua})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"health": health, "actions": offered})
}

func act(vm lua.VM, object unstructured.Unstructured, name string) error {
	action, err := vm.GetResourceAction(&object, name)
	if err != nil {
		return err
	}
	results, err := vm.ExecuteResourceAction(&object, action.ActionLua, nil)
	if err != nil {
		return err
	}
	if len(results) != 1 {
		return fmt.Errorf("%s changes %d objects", name, len(results))
	}
	return json.NewEncoder(os.Stdout).Encode(results[0].UnstructuredObj.Object)
}
