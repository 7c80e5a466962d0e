# shellcheck shell=bash
# The stand-in for SONM of examples/sonm on a cluster. Sourced by hack/demo-maintenance and hack/chart-on-cluster.

# sonm_control NAMESPACE METHOD PATH [BODY]: asks its control interface by way of the API server, which reaches it from everywhere.
sonm_control() {
  local path=/api/v1/namespaces/$1/services/sonm-control:http/proxy/$3
  case $2 in
    GET) kubectl get --raw "$path" ;;
    POST) kubectl create --raw "$path" --filename - <<< "$4" ;;
    PUT) kubectl replace --raw "$path" --filename - <<< "$4" ;;
  esac
}

# sonm_node: prints node.yaml without its ConfigMap, in whose place comes another scenario.
sonm_node() { awk 'BEGIN { RS = ORS = "---\n" } !/\nkind: ConfigMap/' examples/sonm/node.yaml; }
