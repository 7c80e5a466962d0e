# shellcheck shell=bash
# What the demos have in common: what a person sees, a cluster, and the operator in it. Sourced by hack/demo and
# hack/demo-maintenance.

. hack/progress.bash

readonly cluster=torpor-demo

scratch=$(mktemp -d)
started=$SECONDS
made_namespaces=false had_definitions=false

# --- what a person sees ---

bold='' dim='' red='' green='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi

section() { printf '\n%s== %s%s\n\n' "$bold" "$*" "$plain"; }
say() { printf '   %s\n' "$*"; }
good() { printf ' %s✓%s %s\n' "$green" "$plain" "$*"; }
fail() { printf ' %s✗ %s%s\n' "$red" "$*" "$plain" >&2; exit 1; }
mebibytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

# quietly COMMAND...: shows the output of the command only if it fails, and that it runs if that takes long.
quietly() {
  local began=$SECONDS ticker status=0
  waiting() { show "$(clock $((SECONDS - began))) $*"; }
  every_tick waiting "$@" &
  ticker=$!
  "$@" > "$scratch/output" 2>&1 || status=$?
  kill "$ticker"
  wait "$ticker" 2> /dev/null || true
  [[ ! -t 2 ]] || printf '\r\e[K' >&2
  ((status != 0)) || return 0
  cat "$scratch/output" >&2
  fail "$*"
}

# eventually WHAT COMMAND...: tries once a second, for two minutes, until the command succeeds.
eventually() {
  local what=$1 end=$((SECONDS + 120))
  shift
  until "$@" 2> "$scratch/error"; do
    ((SECONDS < end)) || { cat "$scratch/error" >&2; fail "not in two minutes: $what"; }
    ((SECONDS % 10)) || show "waiting: $what"
    sleep 1
  done
}

# changed SECONDS LINE: shows a line unless it was the last that was shown, less than ten seconds ago.
last_shown='' last_shown_at=0
changed() {
  [[ $2 != "$last_shown" ]] || ((SECONDS - last_shown_at >= 10)) || return 0
  printf '   %3d s  %s\n' "$1" "$2"
  last_shown=$2 last_shown_at=$SECONDS
}

# --- the cluster ---

kube() { kubectl --namespace "$app" "$@"; }

# pods SELECTOR: how many run.
pods() { kube get pods --selector "$1" --field-selector status.phase=Running --no-headers 2> /dev/null | wc -l; }

build_cluster() { hack/cluster/cluster build; }

# In one build, so that all dependencies are compiled once.
build_images() {
  hack/cargo release "The operator and $example (4 minutes on two cores)" build --locked --release --package torpor --package "$example"
}

start_own_cluster() {
  local image=$scratch/image.tar folder name size
  section "A cluster of its own: one node with real pods, and a PostgreSQL"
  together build_cluster build_images
  quietly hack/cluster/cluster up --name "$cluster"
  eval "$(hack/cluster/cluster env --name "$cluster")"
  good "it is up"
  folder=$(hack/binaries release)
  for name in torpor "$example"; do
    quietly hack/image --package "$name" --from "$folder" "localhost/$name:dev" "$image"
    quietly hack/cluster/cluster load --name "$cluster" "$image"
    size=$(stat --format %s "$image")
    good "$(printf '%-22s' "localhost/$name:dev")   $(mebibytes "$size")"
  done
  operator_image=localhost/torpor:dev app_image=localhost/$example:dev
  # They are there already where an earlier run was asked to keep them.
  quietly kubectl delete namespace "$app" --ignore-not-found
  quietly kubectl delete namespace "$system" --ignore-not-found
}

use_external_cluster() {
  section "The cluster of the current context: $(kubectl config current-context)"
  operator_image=$IMAGE
  local variable=${example^^}_IMAGE
  app_image=${!variable:-${IMAGE%:*}-$example:${IMAGE##*:}}
  local namespace
  for namespace in "$app" "$system"; do
    ! kubectl get namespace "$namespace" > /dev/null 2>&1 ||
      fail "there is a namespace $namespace already: remove it, or look whose it is"
  done
  good "it answers; everything goes to the namespaces $app and $system"
  say "operator     $operator_image"
  say "application  $app_image"
}

# By the chart; but in somebody's cluster without a right or a policy that reaches beyond the two namespaces, and without touching
# definitions that are there.
install_operator() {
  local values=(--set "image.repository=${operator_image%:*},image.tag=${operator_image##*:}")
  if [[ $external == true ]]; then
    values+=(--set "watchNamespaces={$app},rbac.aggregateClusterRoles=false,admissionPolicy.enabled=false")
    [[ $had_definitions == false ]] || values+=(--set crds.enabled=false)
  fi
  quietly helm install torpor charts/torpor --namespace "$system" "${values[@]}" --wait --timeout 2m
}

clean_up() {
  local status=$?
  trap - EXIT
  if ((status != 0)) && [[ $made_namespaces == true ]]; then
    printf '\n%sThe last that the operator logged:%s\n' "$dim" "$plain" >&2
    kubectl --namespace "$system" logs --selector app.kubernetes.io/name=torpor --prefix --tail 30 >&2 || true
    kube get hibernations,maintenancewindows,deployments,jobs,pods >&2 || true
  fi
  if [[ ${KEEP-} == 1 ]]; then
    ((status == 0)) || printf '\nKept as it is. Its end: %s\n' "$how_to_end" >&2
  elif [[ $external == true ]]; then
    [[ $made_namespaces == false ]] || remove_from_external_cluster
  else
    hack/cluster/cluster down --name "$cluster" > /dev/null 2>&1 || true
  fi
  rm -rf "$scratch"
  exit "$status"
}

# The application first: while its namespace goes, the operator still lets go of what it holds.
remove_from_external_cluster() {
  say "removing the namespaces $app and $system"
  kubectl delete namespace "$app" --ignore-not-found > /dev/null || true
  helm uninstall torpor --namespace "$system" --ignore-not-found > /dev/null || true
  kubectl delete namespace "$system" --ignore-not-found > /dev/null || true
  [[ $had_definitions == true ]] || kubectl delete --filename crds/ --ignore-not-found > /dev/null || true
}

# set_up NAMESPACE EXAMPLE: a cluster with the operator, that namespace, and the image of that folder of examples/. Sets
# `external` and `app_image`.
set_up() {
  app=$1 example=$2
  external=false system=torpor-system
  how_to_end="hack/cluster/cluster down --name $cluster"
  case ${CLUSTER-} in
    '') ;;
    external)
      [[ -n ${IMAGE-} ]] || fail "CLUSTER=external needs IMAGE=REPOSITORY:TAG, an image of the operator that the cluster can pull"
      [[ ${IMAGE##*/} == *:* ]] || fail "IMAGE needs a tag: REPOSITORY:TAG"
      command -v helm > /dev/null || fail "helm is missing"
      external=true system=torpor-demo
      how_to_end="kubectl delete namespace $app, then $system"
      ;;
    *) fail "CLUSTER is external or not given, not '$CLUSTER'" ;;
  esac
  trap clean_up EXIT
  if [[ $external == true ]]; then use_external_cluster; else start_own_cluster; fi

  section "The operator: helm install torpor charts/torpor"
  ! kubectl get customresourcedefinition hibernations.torpor.dev > /dev/null 2>&1 || had_definitions=true
  made_namespaces=true
  quietly kubectl create namespace "$app"
  quietly kubectl create namespace "$system"
  quietly kubectl label namespace "$system" pod-security.kubernetes.io/enforce=restricted
  install_operator
  quietly kubectl --namespace "$system" rollout status deployment/torpor --timeout 2m
  good "deployment/torpor is ready"
}

# The end of a run that went well. What there is to try, of a cluster that is kept, comes from standard input.
finish() {
  section "All as it must be, in $((SECONDS - started)) s"
  if [[ ${KEEP-} != 1 ]]; then
    say "To look around yourself: $1 KEEP=1"
    exit 0
  fi
  say "It is all still up. Try:"
  echo
  if [[ $external == false ]]; then
    say "  eval \"\$(hack/cluster/cluster env --name $cluster)\""
  fi
  say "  kubectl config set-context --current --namespace $app"
  sed 's/^/     /'
  echo
  say "Its end: $how_to_end"
}
