# shellcheck shell=bash
# Writes go.mod and go.sum of a program that is built from the very versions that kubernetes/ is built from, so that Go compiles the
# code that they share once: else that would take minutes. Sourced by helm/update and coredns/update.

# go_mod WRITTEN-BY NAME LINE...: begins a go.mod, with the Go version and the replacements of Kubernetes, and these lines.
go_mod() {
  echo "// Written by $1; see there."
  echo "module torpor.invalid/hack/cluster/$2"
  echo
  grep '^go ' ../kubernetes/go.mod
  printf '\n%s\n' "${@:3}"
  echo
  sed -n '/^replace (/,/^)/p' ../kubernetes/go.mod
}

modules() { go list -deps -f '{{with .Module}}{{.Path}} {{.Version}}{{end}}' "$1" | sort -u; } # of all that is compiled

# align TARGET: completes go.mod, and excludes versions until nothing differs: a module's requirements can be raised by a
# `require`, and lowered only by an `exclude` of the version that they name.
align() {
  local wanted differing module want have
  wanted=$(cd ../kubernetes && modules tool)
  rm -f go.sum
  while
    go mod tidy
    differing=$(join <(echo "$wanted") <(modules "$1") | awk '$2 != $3')
    [[ -n $differing ]]
  do
    while read -r module want have; do
      echo "$module: $want instead of $have" >&2
      go mod edit -exclude "$module@$have" -require "$module@$want"
    done <<< "$differing"
  done
}
