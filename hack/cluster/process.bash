# shellcheck shell=bash
# Processes are known by pid, start time and boot: a pid alone may long belong to somebody else.

# Prints "PID START BOOT", or fails if there is no such process.
identity_of() { # PID
  local stat fields boot
  { read -r stat < "/proc/$1/stat"; } 2> /dev/null || return 1
  read -ra fields <<< "${stat##*) }" # After the command, which may hold spaces: field 3, the state, comes first.
  [[ ${fields[0]} != Z ]] || return 1
  read -r boot < /proc/sys/kernel/random/boot_id
  printf '%s %s %s\n' "$1" "${fields[19]}" "$boot"
}

# Prints the pid of the process that a file from identity_of names, or fails if that process has ended.
recorded_process() { # FILE
  local identity
  { read -r identity < "$1"; } 2> /dev/null || return 1
  [[ $(identity_of "${identity%% *}") == "$identity" ]] || return 1
  printf '%s\n' "${identity%% *}"
}
