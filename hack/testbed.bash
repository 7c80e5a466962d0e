# shellcheck shell=bash
# What tests stand on: a cluster with the images of what is tested. Sourced by hack/test and hack/break.
#
# KEEP=1 leaves the cluster up, for the next run to go on with: hack/cluster/cluster down --name torpor-test ends it.

readonly cluster=torpor-test

section() { printf '\n== %s (after %d s)\n\n' "$*" "$SECONDS"; }

clean_up() {
  rm -rf "$images"
  [[ ${KEEP-} == 1 ]] || hack/cluster/cluster down --name "$cluster"
}

set_up() {
  local tool
  for tool in cargo go; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; rust-toolchain.toml and hack/cluster/*/go.mod say which version" >&2; exit 1; }
  done
  images=$(mktemp -d)
  trap clean_up EXIT

  section "The cluster"
  # What tests of the truncation start besides: a PostgreSQL of their own, and a pooler.
  hack/packages postgresql-15 pgbouncer openssl
  hack/cluster/cluster up --name "$cluster"
  eval "$(hack/cluster/cluster env --name "$cluster")"

  section "The images"
  hack/image localhost/torpor:dev "$images/torpor.tar"
  hack/image --example cornice localhost/cornice:dev "$images/cornice.tar"
  hack/cluster/cluster load --name "$cluster" "$images/torpor.tar" "$images/cornice.tar"

  # Most of the time a test waits for pods: more of them at once than there are cores.
  export RUST_TEST_THREADS=${RUST_TEST_THREADS:-8}
}
