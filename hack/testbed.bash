# shellcheck shell=bash
# The ground of all tests: a cluster with the images of what is tested. Sourced by hack/test and hack/break.
#
# KEEP=1 leaves the cluster up, for the next run to go on with: hack/cluster/cluster down --name torpor-test ends it. CLUSTER_NAME
# names another cluster.
. hack/progress.bash

readonly cluster=${CLUSTER_NAME:-torpor-test}

section() { printf '\n== %s (after %d s)\n\n' "$*" "$SECONDS"; }

clusters=("$cluster")
declare -A beside=() # The process groups of tests that run in the background, by name.

clean_up() {
  local name
  for name in "${!beside[@]}"; do kill -TERM -- "-${beside[$name]}" 2> /dev/null || true; done
  rm -rf "$images"
  [[ ${KEEP-} == 1 ]] || for name in "${clusters[@]}"; do hack/cluster/cluster down --name "$name"; done
}

# start_beside NAME COMMAND...: runs COMMAND in the background, with its output in $images/NAME.
start_beside() {
  local name=$1
  shift
  set -m # Its own process group, which clean_up can end.
  "$@" > "$images/$name" 2>&1 < /dev/null &
  set +m
  beside[$name]=$!
}

# end_beside NAME TITLE: shows the output of what runs in the background until it ends, and returns its status.
end_beside() {
  local process=${beside[$1]}
  section "$2"
  alive "$2" tail --pid "$process" --lines +1 --follow "$images/$1"
  unset "beside[$1]"
  wait "$process"
}

# start_cluster NAME IMAGE...: starts a cluster with images of $images.
start_cluster() {
  local name=$1 image
  shift
  hack/cluster/cluster up --name "$name"
  for image in "$@"; do hack/cluster/cluster load --name "$name" "$images/$image.tar"; done
}

build_cluster() { hack/cluster/cluster build; }

# The binaries of the test images are those that cargo tests.
build_tests() {
  hack/cargo test "Torpor, the examples and their tests (6 minutes on two cores, 2 if dependencies are kept)" \
    build --locked --workspace --bins --tests
}

set_up() {
  local tool name folder
  for tool in cargo go; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; rust-toolchain.toml and hack/cluster/*/go.mod say which version" >&2; exit 1; }
  done
  images=$(mktemp -d)
  trap clean_up EXIT

  section "Builds"
  # The tests of the truncation start a PostgreSQL of their own, and a pooler.
  hack/packages postgresql-15 pgbouncer openssl
  together build_cluster build_tests

  section "The cluster"
  folder=$(hack/binaries debug)
  hack/image --from "$folder" localhost/torpor:dev "$images/torpor.tar"
  hack/image --from "$folder" --package cornice localhost/cornice:dev "$images/cornice.tar"
  for name in torpor cornice; do
    note "localhost/$name:dev: $(($(stat --format %s "$images/$name.tar") >> 20)) MiB"
  done
  start_cluster "$cluster" torpor cornice
  eval "$(hack/cluster/cluster env --name "$cluster")"

  # Most of the time a test waits for pods: more of them at once than there are cores.
  export RUST_TEST_THREADS=${RUST_TEST_THREADS:-8}
}
