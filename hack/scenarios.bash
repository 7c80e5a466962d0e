# shellcheck shell=bash
# The ground of the tests with real controllers of other projects: a cluster with Torpor, and scenarios. Sourced by hack/gitops-e2e and
# hack/kinds-e2e.
#
# WRITE_DOCS=1 writes the table of what was seen to a page of docs/. KEEP and CLUSTER_NAME are those of hack/test.
. hack/testbed.bash
readonly system=torpor-system

scratch=$(mktemp -d)
end() {
  rm -rf "$scratch"
  clean_up
}

# install_torpor [ARGUMENT OF helm...]: sets up the cluster, and installs Torpor with the chart.
install_torpor() {
  set_up
  trap end EXIT
  section "Torpor"
  kubectl create namespace "$system" --dry-run=client --output json | kubectl apply --filename - > /dev/null
  helm upgrade --install torpor charts/torpor --namespace "$system" --take-ownership --force-conflicts --wait --timeout 3m \
    --set image.tag=dev "$@" > /dev/null
  # A cluster that was kept runs the operator of the run before.
  kubectl --namespace "$system" rollout restart deployment/torpor > /dev/null
  kubectl --namespace "$system" rollout status deployment/torpor --timeout 3m > /dev/null
}

# run_scenarios FOLDER PROGRAMS PAGE [SCENARIO...]: runs e2e.py of a folder, all scenarios or some, and writes the table to the page.
run_scenarios() {
  local folder=$1 programs=$2 page=$3
  shift 3
  section "Scenarios"
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=hack/controllers python3 "$folder/e2e.py" "$programs" "$scratch" "$scratch/table" "$@"
  if [[ ${WRITE_DOCS-} == 1 && $# == 0 ]]; then
    sed -i -e '/^<!-- table -->$/,/^<!-- end -->$/{/^<!--/!d}' -e "/^<!-- table -->\$/r $scratch/table" "$page"
    note "$page has the table"
  fi
  section "Done"
}
