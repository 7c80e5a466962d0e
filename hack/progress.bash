# shellcheck shell=bash
# Says what a long command does and how far it is, so that nobody waits in silence. Sourced by every script that takes time.
#
# On a terminal one line is rewritten each second. Elsewhere, as in a log, a line is added every ten seconds.

# clock SECONDS: prints minutes and seconds.
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# show LINE: rewrites the line on the terminal, or adds one. Inside `together` the line goes to the file that it reads.
show() {
  if [[ -n ${TORPOR_PROGRESS-} ]]; then
    printf '%s' "$1" > "$TORPOR_PROGRESS"
  elif [[ -t 2 ]]; then
    printf '\r\e[K   %.*s' $(($(tput cols 2> /dev/null || echo 80) - 4)) "$1" >&2
  else
    printf '   %s\n' "$1" >&2
  fi
}

# note LINE: adds a line that stays.
note() {
  [[ ! -t 2 ]] || printf '\r\e[K' >&2
  printf '   %s\n' "$1" >&2
}

# every_tick COMMAND...: runs the command each second on a terminal, every ten seconds elsewhere, until it is killed.
every_tick() {
  local pause=10 second
  [[ -z ${TORPOR_PROGRESS-} && ! -t 2 ]] || pause=1
  while true; do
    for ((second = 0; second < pause; second++)); do sleep 1 > /dev/null 2>&1; done
    "$@"
  done
}

# progress WHAT COUNT COMMAND...: runs COMMAND and shows WHAT, how far COMMAND is, and how long it has run.
#
# COUNT is a function that gets the file of COMMAND's output and prints how far COMMAND is (see below). The output itself is
# shown only if COMMAND fails.
progress() {
  local what=$1 count=$2 began=$SECONDS log ticker status
  shift 2
  log=$(mktemp)
  report() { show "$what: $("$count" "$log" || true), $(clock $((SECONDS - began)))"; }
  every_tick report &
  ticker=$!
  # As a command of its own and not as a condition, in which bash would not stop where it fails.
  set +e
  (set -e; "$@") > "$log" 2>&1 < /dev/null
  status=$?
  set -e
  kill "$ticker" 2> /dev/null
  wait "$ticker" 2> /dev/null || true
  if ((status != 0)); then
    note "$what: failed after $(clock $((SECONDS - began)))"
    tr '\r' '\n' < "$log" | grep -v '^ *Building \[' >&2 || true
  elif ((SECONDS - began > 2)); then
    note "$what: done in $(clock $((SECONDS - began)))"
  elif [[ -t 2 && -z ${TORPOR_PROGRESS-} ]]; then
    printf '\r\e[K' >&2
  fi
  [[ -z ${TORPOR_PROGRESS-} ]] || : > "$TORPOR_PROGRESS"
  rm -f "$log"
  return "$status"
}

# --- how far a command is, from its output ---

# cargo_count FILE: the crates that cargo has compiled. Wants the variables of `cargo_tells` in cargo's environment.
cargo_count() {
  local count
  count=$(tail -c 4000 "$1" | tr '\r' '\n' | grep -oE '[0-9]+/[0-9]+' | tail -n 1)
  if [[ -n $count ]]; then printf '%s of %s crates' "${count%/*}" "${count#*/}"; else last_line "$1"; fi
}

# cargo_tells COMMAND...: runs cargo so that it counts in a file too.
cargo_tells() { CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 "$@"; }

# go_count FILE: the packages that `go build -v` has compiled, of $packages; before there is a number, the modules that are downloaded.
go_count() {
  local built loaded
  built=$(grep -cv '^go: ' "$1")
  loaded=$(grep -c '^go: downloading' "$1")
  if [[ -n $packages ]]; then echo "$built of $packages packages"; else echo "$loaded modules downloaded"; fi
}

# last_line FILE: the last thing that was said.
last_line() {
  local line
  line=$(tail -c 1000 "$1" | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 | sed 's/^ *//' | cut -c1-60)
  printf '%s' "${line:-begun}"
}

# --- several at once ---

# together COMMAND...: runs commands without arguments (functions) side by side and shows how far all of them are. Where one fails,
# the others are ended.
together() (
  files=$(mktemp -d)
  pids=()
  report_all() {
    local file line=''
    for file in "$files"/*; do
      [[ ! -s $file ]] || line+="${line:+ | }$(< "$file")"
    done
    [[ -z $line ]] || show "$line"
  }
  every_tick report_all &
  ticker=$!
  end_all() {
    local pid
    set +m # Otherwise bash reports each end.
    kill "$ticker"
    for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2> /dev/null || true; done
    wait
    rm -rf "$files"
  }
  trap end_all EXIT
  set -m # A process group for each, so that it can be ended with all that it has started.
  for command in "$@"; do
    TORPOR_PROGRESS=$files/$command "$command" < /dev/null &
    pids+=("$!")
  done
  for ((left = $#; left > 0; left--)); do
    wait -n || exit
  done
)

# alive WHAT COMMAND...: runs tests and shows their output. Where they say nothing for ten seconds, adds how many tests have ended.
alive() {
  local what=$1 began=$SECONDS line part='' ended=0 status
  shift
  "$@" 2>&1 | while true; do
    status=0 # Behind an `if`, $? would be that of the `if`.
    IFS= read -r -t 10 line || status=$?
    if ((status == 0)); then
      printf '%s%s\n' "$part" "$line"
      part=''
      [[ ! $line =~ ^test\ .*\ \.\.\.\ (ok|FAILED) ]] || ended=$((ended + 1))
      continue
    fi
    part+=$line
    if ((status <= 128)); then
      printf '%s' "$part"
      break
    fi
    note "$what: $ended tests have ended, $(clock $((SECONDS - began)))"
  done
}

# failures FILE...: prints, of each failed test in the output of `cargo test`, how its message begins and ends.
failures() {
  awk '
    function end() {
      if (count) printf "--- %s\n", name
      for (line = 1; line <= count; line++) if (line <= 5 || line > count - 40) print lines[line]
      name = ""
      count = 0
    }
    /^---- .* stdout ----$/ { end(); name = $2 }
    /^note: run with `RUST_BACKTRACE/ || /^stack backtrace:/ || /^failures:$/ { end() }
    name != "" && (count || / panicked at /) { lines[++count] = substr($0, 1, 300) }
    END { end() }
  ' "$@"
}
